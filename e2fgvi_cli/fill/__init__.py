"""From frames with holes to finished frames: windows, crops, the merge of predictions, several devices. Knows no
tensors and no files."""

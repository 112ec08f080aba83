"""Pages that open from the disk: of an evaluation, of a run. One file each, nothing loaded from elsewhere."""

"""The E2FGVI-HQ network (Li et al., CVPR 2022), written from its published numbers. Needs torch and torchvision
only."""

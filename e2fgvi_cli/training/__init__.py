"""Training: material, batches, losses, discriminator, the loop, and what measures its result.

Imported late by `commands/train.py`: most modules here need torch and OpenCV. `engine` and this package are the only
importers of `model`.

    config     what a run is asked, as frozen values read from TOML       schedule   which phase and learning rate, by
    time (pure) material   clips, photographs, silhouettes: chosen and decoded once   shapes     outlines and their
    paths
    camera     homographies and layers: how a sample is photographed      batches    frames and holes, made on the
    device losses     what is minimised                                          discriminator  Temporal PatchGAN
    step       one forward and backward pass                              loop       the run: steps, log, state,
    validation state      what a run keeps on disk                                   parallel   several processes under
    torchrun validation, evaluate, sheets, plot, export, benchmark
"""

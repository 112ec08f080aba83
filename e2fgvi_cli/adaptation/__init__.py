"""Weights that learn the clip: a short training on what a clip shows, before its holes are filled.

`sample`: what of the clip is learned from. `windows`: windows of it with random holes, and fixed ones to judge by.
`learning`: the steps, from the chosen weights, by `training.learner`. `kept`: results and unfinished states in the
cache folder. `adapt`: all of it for one run.
"""

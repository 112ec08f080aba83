"""An experiment that did not pay (docs/history/adaptation.md): weights that learn a clip before its holes are filled.

`sample`: what of the clip is learned from. `windows`: windows of it with random holes, and fixed ones to judge by.
`learning`: the steps, from the chosen weights, by `training.learner`. `__main__`: what it gains.
"""

"""Measurements: quality against a reference, plain baselines to compare with, and the clips they are taken on.

Imported late by the commands that measure something: the modules here need OpenCV.
"""

"""Clips out: encoders, times, copied streams, publication, and looking again at what was written."""

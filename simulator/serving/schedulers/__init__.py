"""Who is in the next batch: one file a scheduler, all made of ``serving.admission``.

A scheduler is a function of the state of a replica. It finds an empty batch and fills it within
the token budget; ``serving.scheduler`` calls the one that the settings name.
"""

"""What `tools/chaos_train.py` plays with: trainings as processes, and what is taken from them."""

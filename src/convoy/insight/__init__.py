"""Explanations of a model's behaviour: pictures and a page, from the trained network and the validation split."""

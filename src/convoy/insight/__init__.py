"""Why a model behaves as it does: pictures and a page, from the trained network and the validation split."""

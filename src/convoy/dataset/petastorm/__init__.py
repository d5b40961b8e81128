"""The door to Petastorm: no other package imports it.

With current PyArrow and NumPy, importing any module of this package makes Petastorm importable in this process; see
``compat``.
"""

from convoy.dataset.petastorm import compat

compat.install()

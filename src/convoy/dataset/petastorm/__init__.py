"""The only package that imports Petastorm.

With current PyArrow and NumPy, importing any module of this package makes Petastorm importable in this process; see
``compat``.
"""

from convoy.dataset.petastorm import compat

compat.install()

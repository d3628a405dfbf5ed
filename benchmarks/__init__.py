"""How long things take and how much memory they need, beside the alternatives, in one run.

``python -m benchmarks SUITE`` measures, ``python -m benchmarks.report FILES`` writes
``docs/benchmarks.md``. What is measured is in ``suites``, who is measured in ``peers``.
"""

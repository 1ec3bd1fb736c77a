"""Every name and number that is stored, sent or public, read from the running objects.

Each module gathers *sections*: functions without arguments that return plain data. ``tests/test_wire_names.py``
compares them with ``tests/data/wire/SECTION.json``. A name that changes there breaks stored data, a neighbouring
version or an operator's configuration, so a refactoring may move what is imported here and must not change the files.
``python -m tests.wire`` lists the sections that differ, ``python -m tests.wire --write`` writes the files anew.
"""

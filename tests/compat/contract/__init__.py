"""The contract with LiteLLM: every name of it that the package uses, looked for in a wheel that is not installed.

``uses`` reads the names from the package, ``names.json`` lists them, ``absences`` says which a version may lack, and
``check`` looks for each in a wheel.
"""

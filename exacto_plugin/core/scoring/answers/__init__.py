"""Reads the tool calls of answers as clients put them together.

Answers are whole or streamed. Of ``core.scoring`` it imports only the form of a call and the readers of fields.
"""

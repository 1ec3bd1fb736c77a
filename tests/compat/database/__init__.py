"""LiteLLM with its database: virtual keys, teams, budgets and models kept in PostgreSQL.

LiteLLM speaks to its database through Prisma's query engine, a program that Prisma's own tools download from a server
that is no package registry. The npm registry has the same engine, of the same commit, as WebAssembly; ``engine.mjs``
serves it over HTTP as the program does, on a driver for PostgreSQL in JavaScript.
"""

"""How good a model is: protocols, baselines, tables and pictures. Imports torch only when a model is used."""

"""The REST routes: each translates a request into one call and commits at its edge."""

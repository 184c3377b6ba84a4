"""Explorers: thin shells of widgets over plain functions; what they show, a static figure shows too."""

"""The fleet's page: files that need no build and nothing from outside, served by the application."""

from edgekit.fleet.web.assets import Assets

__all__ = ["Assets"]

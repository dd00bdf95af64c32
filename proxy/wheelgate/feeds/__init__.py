"""Feeds of Azure DevOps that pass public packages through: whose each project is, and when each of its versions came."""

"""A container engine, images and a deployment with compose, for the tests of deploy/."""

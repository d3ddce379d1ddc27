"""Models in, artifacts out: conversion and quantization for TFLite and OpenVINO."""

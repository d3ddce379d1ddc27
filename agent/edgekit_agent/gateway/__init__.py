"""The Open Inference Protocol (v2, REST) on loopback, for applications that do not speak to the socket."""

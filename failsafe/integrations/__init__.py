"""What plugs failsafe into other libraries: one module each, which alone imports that library."""

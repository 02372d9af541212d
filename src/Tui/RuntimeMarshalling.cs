// Native calls here pass nothing but numbers and pointers; said once, so that they are compiled ahead of time and start-up needs no stubs.
[assembly: System.Runtime.CompilerServices.DisableRuntimeMarshalling]

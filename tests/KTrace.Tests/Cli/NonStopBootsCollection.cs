namespace KTrace.Tests.Cli;

/// <summary>Real boots that need nothing of those in <see cref="BootsCollection"/>, one after the other beside them: QEMU keeps one processor busy, and the machine has two.</summary>
[CollectionDefinition(nameof(NonStopBootsCollection))]
public sealed class NonStopBootsCollection;

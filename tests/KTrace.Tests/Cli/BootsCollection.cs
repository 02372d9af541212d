namespace KTrace.Tests.Cli;

/// <summary>Real boots are run one after the other: two at once on a small machine take longer than both in turn.</summary>
[CollectionDefinition(nameof(BootsCollection))]
public sealed class BootsCollection : ICollectionFixture<RecordedBoots>;

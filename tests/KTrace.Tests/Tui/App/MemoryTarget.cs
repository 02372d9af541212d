using System.Collections.Concurrent;
using System.Threading.Channels;
using KTrace.Tui.Targets;

namespace KTrace.Tests.Tui.App;

/// <summary>A target without a machine: news is what a test says, requests are kept.</summary>
internal sealed class MemoryTarget : IUiTarget
{
    private readonly Channel<TargetNews> _news = Channel.CreateBounded<TargetNews>(256);

    public TargetAbilities Abilities { get; } = new("memory", "memory", IsLive: true);

    public ChannelReader<TargetNews> News => _news.Reader;

    public ConcurrentQueue<TargetRequest> Asked { get; } = new();

    public void Post(TargetRequest request) => Asked.Enqueue(request);

    /// <summary>Waits while the loop is behind, as a target does.</summary>
    public ValueTask SayAsync(TargetNews news) => _news.Writer.WriteAsync(news);

    public void End() => _news.Writer.TryComplete();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}

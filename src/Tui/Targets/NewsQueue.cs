using System.Threading.Channels;

namespace KTrace.Tui.Targets;

/// <summary>
/// News on their way to the screen. Never full for answers and stops; what comes in bulk (hits, console text) waits while the screen is behind, so that memory does not grow.
/// </summary>
internal sealed class NewsQueue
{
    // A screen that keeps up has none waiting. A batch is some hundred kilobytes at most.
    private const int Crowd = 64;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(5);

    // One for several readers can be counted.
    private readonly Channel<TargetNews> _news = Channel.CreateUnbounded<TargetNews>();

    public ChannelReader<TargetNews> Reader => _news.Reader;

    /// <summary>Does nothing once the target is over.</summary>
    public void Send(TargetNews news) => _news.Writer.TryWrite(news);

    public void Complete() => _news.Writer.TryComplete();

    /// <summary>Waits until the screen has taken most of what was sent.</summary>
    public async ValueTask WaitForRoomAsync(CancellationToken cancellationToken)
    {
        while (_news.Reader.Count > Crowd)
        {
            await Task.Delay(s_pause, cancellationToken);
        }
    }
}

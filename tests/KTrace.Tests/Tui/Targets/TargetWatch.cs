using System.Diagnostics;
using KTrace.Tui.Targets;

namespace KTrace.Tests.Tui.Targets;

/// <summary>Asks a target and waits for its news, as the screen's loop does.</summary>
internal sealed class TargetWatch : IAsyncDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(3);

    private readonly IUiTarget _target;
    private readonly List<TargetNews> _seen = [];
    private readonly Task _reading;
    private int _from;

    public TargetWatch(IUiTarget target)
    {
        _target = target;
        _reading = Task.Run(ReadAsync);
    }

    /// <summary>False holds the news back: a screen that does not keep up.</summary>
    public bool IsReading { get; set; } = true;

    /// <summary>News that has not been read.</summary>
    public int Waiting => _target.News.Count;

    public void Post(TargetRequest request)
    {
        lock (_seen)
        {
            _from = _seen.Count;
        }

        _target.Post(request);
    }

    /// <summary>The first news of a kind since the last request.</summary>
    public async Task<T> NextAsync<T>(Func<T, bool>? isWanted = null)
        where T : TargetNews
    {
        var since = Stopwatch.StartNew();
        while (true)
        {
            lock (_seen)
            {
                if (_seen.Skip(_from).OfType<T>().FirstOrDefault(n => isWanted?.Invoke(n) != false) is { } found)
                {
                    return found;
                }

                if (since.Elapsed > s_limit || (_reading.IsCompleted && !_target.News.TryPeek(out _)))
                {
                    throw new TimeoutException($"no {typeof(T).Name}; there was: {string.Join("\n", _seen.TakeLast(20))}");
                }
            }

            await Task.Delay(5);
        }
    }

    public async Task<T> AskAsync<T>(TargetRequest request, Func<T, bool>? isWanted = null)
        where T : TargetNews
    {
        Post(request);
        return await NextAsync(isWanted);
    }

    public IReadOnlyList<T> All<T>()
        where T : TargetNews
    {
        lock (_seen)
        {
            return [.. _seen.OfType<T>()];
        }
    }

    public string Console => string.Concat(All<TargetNews.ConsoleText>().Select(c => c.Text));

    public async ValueTask DisposeAsync()
    {
        IsReading = true;
        await _target.DisposeAsync();
        await _reading;
    }

    private async Task ReadAsync()
    {
        await foreach (var news in _target.News.ReadAllAsync())
        {
            while (!IsReading)
            {
                await Task.Delay(5);
            }

            lock (_seen)
            {
                _seen.Add(news);
            }
        }
    }
}

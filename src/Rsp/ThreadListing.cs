// GDB Remote Serial Protocol: `qXfer:threads:read` ("Thread List Format") is one document instead of qfThreadInfo, qsThreadInfo and a
// qThreadExtraInfo for each. gdbserver 13.1 has it and no qThreadExtraInfo; QEMU 7.2 and Valgrind have it the other way round.
using System.Text;
using KTrace.Rsp.Commands;

namespace KTrace.Rsp;

/// <summary>Asks a stub for its threads, in the way that it offers.</summary>
internal static class ThreadListing
{
    public const int MaxThreads = 65536;

    private const string Document = "threads";

    /// <exception cref="RspException">Also Protocol: the list has no end.</exception>
    public static async ValueTask<IReadOnlyList<ThreadId>> ReadIdsAsync(RspExchange exchange, CancellationToken cancellationToken)
    {
        var threads = new List<ThreadId>();
        var piece = await exchange.QueryAsync(new QueryThreads(First: true), cancellationToken).ConfigureAwait(false);
        while (piece.Count > 0)
        {
            threads.AddRange(piece);
            if (threads.Count > MaxThreads)
            {
                throw new RspException(RspErrorKind.Protocol, $"the stub lists more than {MaxThreads} threads");
            }

            piece = await exchange.QueryAsync(new QueryThreads(First: false), cancellationToken).ConfigureAwait(false);
        }

        return threads;
    }

    public static async ValueTask<IReadOnlyList<StubThread>> ReadAsync(RspExchange exchange, CancellationToken cancellationToken)
    {
        if (exchange.Features.ThreadDocument)
        {
            return ReadDocument(await StubXml.FetchAsync(exchange, Document, "", cancellationToken).ConfigureAwait(false));
        }

        var threads = new List<StubThread>();
        foreach (var id in await ReadIdsAsync(exchange, cancellationToken).ConfigureAwait(false))
        {
            // They have just been listed, so no stub is silent about one of them.
            var extra = await exchange.TryQueryAsync(new QueryThreadExtra(id), cancellationToken).ConfigureAwait(false);
            threads.Add(new StubThread(id, Extra: Visible(extra)));
        }

        return threads;
    }

    public static async ValueTask<string> ReadExtraAsync(RspExchange exchange, ThreadId thread, StubProfile profile, CancellationToken cancellationToken)
    {
        if (profile.SilentAboutMissingThreads)
        {
            var alive = new QueryThreadAlive(thread);
            var outcome = new RspOutcome[1];
            await exchange.SendAsync(new RspCommand[] { alive }, outcome, cancellationToken).ConfigureAwait(false);
            if (!outcome[0].IsOk)
            {
                throw exchange.Refusal(alive, outcome[0]);
            }
        }

        return await exchange.QueryAsync(new QueryThreadExtra(thread), cancellationToken).ConfigureAwait(false);
    }

    /// <exception cref="RspException">Protocol: malformed, or too many.</exception>
    internal static IReadOnlyList<StubThread> ReadDocument(byte[] bytes)
    {
        var threads = new List<StubThread>();
        StubXml.Read(
            Document,
            bytes,
            xml =>
            {
                if (xml.LocalName != "thread")
                {
                    return;
                }

                var id = Encoding.UTF8.GetBytes(StubXml.Attribute(Document, xml, "id"));
                if (!ThreadId.TryParse(id, out var parsed) || threads.Count == MaxThreads)
                {
                    throw StubXml.Broken(Document, $"{PacketText.Brief(id)} is no thread, or there are more than {MaxThreads}");
                }

                var core = xml.GetAttribute("core") is { } number ? StubXml.Number(Document, number, int.MaxValue) : (int?)null;
                threads.Add(new StubThread(parsed, Visible(xml.GetAttribute("name")), core));
            },
            (element, text) =>
            {
                if (element == "thread" && threads.Count > 0)
                {
                    threads[^1] = threads[^1] with { Extra = Visible(text) };
                }
            });
        return threads;
    }

    private static string? Visible(string? text) => text is null ? null : PacketText.Escape(Encoding.UTF8.GetBytes(text));
}

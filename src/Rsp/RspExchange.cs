// Requests and their replies: order, error replies, stop replies that nobody asked for, and replies that a cancelled caller left behind.
//
// Cancelling a request does not break the connection: the request is out, so its reply is owed, and whoever speaks next reads and drops it
// first. (A write is never cancelled.) A reply that is malformed breaks the connection: order can no longer be trusted.
using System.Runtime.CompilerServices;
using System.Text;
using KTrace.Rsp.Commands;

namespace KTrace.Rsp;

/// <summary>Matches replies to requests over one connection. One caller at a time.</summary>
internal sealed class RspExchange(RspConnection connection, RspClientOptions options)
{
    /// <summary>Requests of a window stay well below the smallest socket buffer: a stub that blocks on its replies must not block the write.</summary>
    private const int WindowBytes = 16 * 1024;

    private int _owedReplies;
    private bool _owedMonitorEnd;
    private string? _errorText;

    public StubFeatures Features { get; set; } = StubFeatures.Minimal;

    /// <summary>What the stub turned out to lack when it was asked for.</summary>
    public SortedSet<string> Missing { get; } = new(StringComparer.Ordinal);

    /// <summary>Whether a resume is under way, whose stop reply has not come.</summary>
    public bool Running { get; set; }

    /// <summary>The target's end, where it came in place of a reply: a machine that powers off under a step reports the step, and then that.</summary>
    public StopReply? End { get; private set; }

    /// <summary>How many resumes were sent, in all.</summary>
    public long Resumes { get; private set; }

    /// <summary>How many requests were sent that may have changed something, resumes among them.</summary>
    public long Changes { get; private set; }

    /// <summary>How many stop replies came that nobody had asked for.</summary>
    public int StrayStopReplies { get; private set; }

    /// <summary>Sends requests in as few writes as may be and reads their replies in order.</summary>
    /// <param name="outcomes">As many as commands. Those that were not reached stay as they are.</param>
    public ValueTask SendAsync(ReadOnlyMemory<RspCommand> commands, Memory<RspOutcome> outcomes, CancellationToken cancellationToken) =>
        SendAsync(commands, outcomes, leavesReplies: false, cancellationToken);

    /// <summary>The same, or without waiting for replies in front of a resume.</summary>
    /// <param name="outcomes">As many as commands. Those that were not reached stay as they are.</param>
    /// <param name="leavesReplies">Replies in front of a resume are owed: the next call reads and drops them.</param>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask SendAsync(ReadOnlyMemory<RspCommand> commands, Memory<RspOutcome> outcomes, bool leavesReplies, CancellationToken cancellationToken)
    {
        await DrainAsync(cancellationToken).ConfigureAwait(false);
        for (var done = 0; done < commands.Length;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var (count, resumes) = Append(commands.Span[done..]);
            var replies = resumes ? count - 1 : count;
            Resumes += resumes ? 1 : 0;
            await connection.FlushAsync(replies).ConfigureAwait(false);
            Running = resumes;
            if (resumes && leavesReplies)
            {
                _owedReplies = replies;
                replies = 0;
            }

            for (var i = done; i < done + replies; i++)
            {
                await ReadReplyAsync(done + replies - i, cancellationToken).ConfigureAwait(false);
                outcomes.Span[i] = Take(commands.Span[i]);
            }

            done += count;
            if (resumes)
            {
                outcomes.Span[done - 1] = new RspOutcome(RspStatus.Running, 0, 0);
            }
        }
    }

    /// <exception cref="RspException">ErrorReply or Unsupported: the stub refused.</exception>
    public async ValueTask<TReply> QueryAsync<TReply>(RspQuery<TReply> query, CancellationToken cancellationToken)
    {
        await SendOneAsync(query, cancellationToken).ConfigureAwait(false);
        var outcome = Classify(connection.Payload, query);
        return outcome.IsOk ? Parse(query) : throw Refusal(query, outcome);
    }

    /// <summary>The same, but null for an empty reply or an error.</summary>
    public async ValueTask<TReply?> TryQueryAsync<TReply>(RspQuery<TReply> query, CancellationToken cancellationToken)
        where TReply : class
    {
        await SendOneAsync(query, cancellationToken).ConfigureAwait(false);
        return Classify(connection.Payload, query).IsOk ? Parse(query) : null;
    }

    public async ValueTask MonitorAsync(MonitorCommand command, CancellationToken cancellationToken)
    {
        await DrainAsync(cancellationToken).ConfigureAwait(false);
        connection.Begin();
        connection.ManyReplies = true;
        Append(command);
        Changes++;
        await connection.FlushAsync(1).ConfigureAwait(false);
        for (var first = true; ; first = false)
        {
            try
            {
                await ReadPacketAsync(options.MonitorTimeout, cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                _owedMonitorEnd = true;
                throw;
            }

            var outcome = Classify(connection.Payload, command);
            if (!outcome.IsOk)
            {
                throw first || outcome.Status == RspStatus.Refused
                    ? Refusal(command, outcome)
                    : connection.Break(RspErrorKind.Protocol, "the output of a monitor command ends with an empty packet");
            }

            try
            {
                if (command.Read(connection.Payload))
                {
                    return;
                }
            }
            catch (RspException e)
            {
                throw connection.Break(e.Kind, e.Message, e);
            }
        }
    }

    /// <summary>Writes a request that has no reply.</summary>
    public async ValueTask PostAsync(RspRequest request, CancellationToken cancellationToken)
    {
        await DrainAsync(cancellationToken).ConfigureAwait(false);
        connection.Begin();
        Append(request);
        await connection.FlushAsync(0).ConfigureAwait(false);
    }

    /// <summary>Waits for the stop of a running target; null when the connection's patience ended first.</summary>
    /// <exception cref="RspException">ErrorReply or Unsupported: the stub refused to resume, the target is stopped as before.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<StopReply?> ReadStopAsync(CancellationToken cancellationToken)
    {
        await DrainAsync(cancellationToken).ConfigureAwait(false);
        while (true)
        {
            connection.TakesNotifiedStops = true;
            ReadResult read;
            try
            {
                read = await connection.ReadAsync(Timeout.InfiniteTimeSpan, cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                connection.TakesNotifiedStops = false;
            }

            switch (read)
            {
                case ReadResult.Impatient:
                    return null;
                case ReadResult.NotifiedStop:
                    var notified = ParseNotifiedStop();
                    await TakeNotifiedStopsAsync().ConfigureAwait(false);
                    return notified;
            }

            if (StopReply.TryParse(connection.Payload) is { } stop)
            {
                return stop;
            }

            // OK is how a stub in non-stop mode answers a resume; its stop comes as a notification.
            if (TryTakeConsoleOutput() || connection.Payload.SequenceEqual("OK"u8))
            {
                continue;
            }

            var outcome = Classify(connection.Payload);
            if (outcome.IsOk)
            {
                throw connection.Break(RspErrorKind.Protocol, $"instead of a stop reply came {PacketText.Brief(connection.Payload)}");
            }

            Running = false;
            throw outcome.Status == RspStatus.Unsupported
                ? new RspException(RspErrorKind.Unsupported, "the stub does not know the request to resume")
                : ErrorReply("the stub refused to resume", outcome);
        }
    }

    /// <summary>
    /// Asks something harmless and reads up to its answer, to learn whether the target is stopped. The two questions have different answers, so
    /// that the first one's late answer is not taken for the second's: QEMU swallows a request that comes while the target runs.
    /// </summary>
    /// <returns>Whether the stub answered before patience ended, and the stop reply that came before the answer, if any.</returns>
    public async ValueTask<(bool Answered, StopReply? Stop)> ProbeAsync(bool second, CancellationToken cancellationToken)
    {
        connection.Begin();
        Append(second ? new QueryVContActions() : new QueryCurrentThread());
        await connection.FlushAsync(1).ConfigureAwait(false);
        StopReply? stop = null;
        while (await connection.ReadAsync(Timeout.InfiniteTimeSpan, cancellationToken).ConfigureAwait(false) == ReadResult.Packet)
        {
            if (StopReply.TryParse(connection.Payload) is { } found)
            {
                stop ??= found;
            }
            else if (!TryTakeConsoleOutput() && !(second && connection.Payload.StartsWith("QC"u8)))
            {
                return (true, stop);
            }
        }

        return (false, stop);
    }

    /// <summary>The exception for a request that the stub refused.</summary>
    public RspException Refusal(RspRequest request, RspOutcome outcome)
    {
        var packet = new PacketWriter();
        packet.BeginPacket();
        request.Write(packet);
        packet.EndPacket();
        var name = PacketText.Brief(packet.Payload(0));
        return outcome.Status != RspStatus.Unsupported ? ErrorReply($"the stub refused {name}", outcome)
            : new RspException(
                RspErrorKind.Unsupported,
                request.Ability is { } ability ? $"the stub has no {ability}: its reply to {name} was empty" : $"the stub does not know {name}: its reply was empty");
    }

    private RspException ErrorReply(string what, RspOutcome outcome) => _errorText is { } text
        ? new RspException(RspErrorKind.ErrorReply, $"{what}: {text}") { ErrorText = text }
        : new RspException(RspErrorKind.ErrorReply, $"{what}: E{outcome.Code:x2}") { ErrorCode = outcome.Code };

    private async ValueTask SendOneAsync(RspRequest request, CancellationToken cancellationToken)
    {
        await DrainAsync(cancellationToken).ConfigureAwait(false);
        connection.Begin();
        Append(request);
        await connection.FlushAsync(1).ConfigureAwait(false);
        await ReadReplyAsync(1, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Appends as many requests as go into one write.</summary>
    private (int Count, bool Resumes) Append(ReadOnlySpan<RspCommand> commands)
    {
        connection.Begin();
        var count = 0;
        do
        {
            Append(commands[count]);
            Changes += commands[count].OnlyReads ? 0 : 1;
            if (commands[count++].Resumes)
            {
                return (count, true);
            }
        }
        while (count < commands.Length && connection.MayPipeline && connection.Outgoing.Written.Length < WindowBytes);
        return (count, false);
    }

    private void Append(RspRequest request)
    {
        request.EnsureOffered(Features);
        connection.Outgoing.BeginPacket();
        request.Write(connection.Outgoing);
        connection.Outgoing.EndPacket();
    }

    private RspOutcome Take(RspCommand command)
    {
        var payload = connection.Payload;
        var outcome = Classify(payload, command);
        if (!outcome.IsOk)
        {
            return outcome;
        }

        try
        {
            return outcome with { Length = command.Read(payload) };
        }
        catch (RspException e)
        {
            throw connection.Break(e.Kind, e.Message, e);
        }
    }

    private TReply Parse<TReply>(RspQuery<TReply> query)
    {
        try
        {
            return query.Read(connection.Payload);
        }
        catch (RspException e)
        {
            throw connection.Break(e.Kind, e.Message, e);
        }
    }

    private RspOutcome Classify(ReadOnlySpan<byte> payload, RspRequest? request = null)
    {
        _errorText = null;
        if (payload.IsEmpty)
        {
            if (request?.Ability is { } ability)
            {
                Missing.Add(ability);
            }

            return new RspOutcome(RspStatus.Unsupported, 0, 0);
        }

        // A hexadecimal reply has an even number of digits, so three characters are no contents.
        if (payload[0] == 'E' && payload.Length == 3 && HexText.ParseByte(payload[1..]) is >= 0 and var code)
        {
            return new RspOutcome(RspStatus.Refused, code, 0);
        }

        if (payload.StartsWith("E."u8))
        {
            _errorText = PacketText.Escape(payload[2..]);
            return new RspOutcome(RspStatus.Refused, 0, 0);
        }

        return new RspOutcome(RspStatus.Ok, 0, 0);
    }

    private StopReply ParseNotifiedStop()
    {
        try
        {
            return StopReply.Parse(connection.Payload[5..]);
        }
        catch (RspException e)
        {
            throw connection.Break(e.Kind, e.Message, e);
        }
    }

    /// <summary>Takes the stops of further threads off a stub in non-stop mode: until then it notifies of no other.</summary>
    private async ValueTask TakeNotifiedStopsAsync()
    {
        for (var taken = 0; taken < ThreadListing.MaxThreads; taken++)
        {
            connection.Begin();
            Append(new TakeNextStop());
            await connection.FlushAsync(1).ConfigureAwait(false);
            await connection.ReadAsync(options.RequestTimeout, CancellationToken.None).ConfigureAwait(false);
            if (StopReply.TryParse(connection.Payload) is null)
            {
                connection.NotifiedStopDue = false;
                return;
            }

            StrayStopReplies++;
        }

        throw connection.Break(RspErrorKind.Protocol, $"the stub reports more than {ThreadListing.MaxThreads} stops at once");
    }

    private async ValueTask DrainAsync(CancellationToken cancellationToken)
    {
        while (_owedReplies > 0)
        {
            await ReadPacketAsync(options.RequestTimeout, cancellationToken).ConfigureAwait(false);
            _owedReplies--;
        }

        while (_owedMonitorEnd)
        {
            await ReadPacketAsync(options.MonitorTimeout, cancellationToken).ConfigureAwait(false);
            var payload = connection.Payload;
            _owedMonitorEnd = !payload.IsEmpty && payload[0] == 'O' && !payload.SequenceEqual("OK"u8);
        }

        if (connection.NotifiedStopDue)
        {
            await TakeNotifiedStopsAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Reads one reply; when cancelled, notes how many are left behind.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadReplyAsync(int due, CancellationToken cancellationToken)
    {
        try
        {
            await ReadPacketAsync(options.RequestTimeout, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            _owedReplies = due;
            throw;
        }
    }

    /// <summary>Reads the next packet that is no stop reply: no request but `?` has one for an answer, so such a one is late or doubled, or the target's end.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadPacketAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        for (var strays = 0; ; strays++)
        {
            await connection.ReadAsync(timeout, cancellationToken).ConfigureAwait(false);
            if (connection.AwaitsHaltReason)
            {
                return;
            }

            switch (StopReply.TryParse(connection.Payload))
            {
                case null:
                    return;
                case not StopReply.Stopped and var end:
                    End = end;
                    throw new RspException(RspErrorKind.WrongState, $"the target has ended ({end}) before it answered");
            }

            StrayStopReplies++;
            connection.Unanswered();
            if (strays >= options.MaxStrayStopReplies)
            {
                throw connection.Break(RspErrorKind.Protocol, $"the stub sent {strays + 1} stop replies that nobody asked for");
            }
        }
    }

    private bool TryTakeConsoleOutput()
    {
        var payload = connection.Payload;
        if (payload.Length < 1 || payload[0] != 'O' || payload.SequenceEqual("OK"u8))
        {
            return false;
        }

        var text = new byte[payload.Length / 2];
        if (!HexText.TryDecode(payload[1..], text, out _))
        {
            return false;
        }

        options.ConsoleOutput?.Invoke(Encoding.UTF8.GetString(text));
        return true;
    }
}

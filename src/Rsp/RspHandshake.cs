// The order matters: QEMU takes p and P only after target.xml was read, and `?` deletes breakpoints, so it comes once, here, at the end.
// A QEMU that ran when the client connected has stopped by now and may have said so already; that stop reply is dropped as stray.
using KTrace.Rsp.Commands;

namespace KTrace.Rsp;

/// <summary>What was learnt when the connection was made.</summary>
internal sealed record RspHandshake(StubProfile Profile, TargetDescription? Description, StopReply Stop)
{
    private const string ClientFeatures = "multiprocess+;swbreak+;hwbreak+;vContSupported+;error-message+;xmlRegisters=i386";
    private const int MaxXmlBytes = 1 << 20;

    public static async ValueTask<RspHandshake> PerformAsync(
        RspConnection connection, RspExchange exchange, RspClientOptions options, CancellationToken cancellationToken)
    {
        var features = await exchange.TryQueryAsync(new QuerySupported(ClientFeatures), cancellationToken).ConfigureAwait(false)
            ?? StubFeatures.Minimal;
        exchange.Features = features;
        connection.Outgoing.MaxPayload = features.PacketSize - 1;
        var outcome = new RspOutcome[1];
        if (features.NoAckMode)
        {
            await exchange.SendAsync(new RspCommand[] { new StartNoAckMode() }, outcome, cancellationToken).ConfigureAwait(false);
            connection.NoAckMode = outcome[0].IsOk;
        }

        var isQemu = await AnswersStepBitsAsync(exchange, cancellationToken).ConfigureAwait(false);
        connection.Profile = options.Profile ?? StubProfile.Detect(features, isQemu);
        var actions = await exchange.TryQueryAsync(new QueryVContActions(), cancellationToken).ConfigureAwait(false);
        exchange.Features = features with { VContActions = actions ?? [] };
        if (connection.Profile.DescriptionNeedsThread)
        {
            var any = new SelectThread(features.Multiprocess ? new ThreadId(0, 0) : ThreadId.Any);
            await exchange.SendAsync(new RspCommand[] { any }, outcome, cancellationToken).ConfigureAwait(false);
        }

        var description = features.TargetXml
            ? await TargetDescription.LoadAsync((file, token) => ReadFileAsync(exchange, file, token), cancellationToken).ConfigureAwait(false)
            : null;
        var stop = await exchange.QueryAsync(new QueryHaltReason(), cancellationToken).ConfigureAwait(false);
        return new RspHandshake(connection.Profile, description, stop);
    }

    private static async ValueTask<bool> AnswersStepBitsAsync(RspExchange exchange, CancellationToken cancellationToken)
    {
        try
        {
            await exchange.QueryAsync(new QueryStepBits(), cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Unsupported or RspErrorKind.ErrorReply)
        {
            return false;
        }
    }

    private static async ValueTask<byte[]> ReadFileAsync(RspExchange exchange, string file, CancellationToken cancellationToken)
    {
        var whole = new MemoryStream();
        while (whole.Length < MaxXmlBytes)
        {
            // The reply's first byte says whether more follows.
            var request = new TransferFeatures(file, (int)whole.Length, exchange.Features.PacketSize - 5);
            var piece = await exchange.QueryAsync(request, cancellationToken).ConfigureAwait(false);
            whole.Write(piece.Bytes);
            if (piece.IsLast)
            {
                return whole.ToArray();
            }
        }

        throw new RspException(RspErrorKind.Protocol, $"{PacketText.Brief(System.Text.Encoding.UTF8.GetBytes(file))} has more than {MaxXmlBytes} bytes");
    }
}

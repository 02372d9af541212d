// The order matters: QEMU takes p and P only after target.xml was read, and `?` deletes breakpoints, so it comes once, here, at the end.
// A QEMU that ran when the client connected has stopped by now and may have said so already; that stop reply is dropped as stray.
using KTrace.Rsp.Commands;

namespace KTrace.Rsp;

/// <summary>What was learnt when the connection was made.</summary>
internal sealed record RspHandshake(StubProfile Profile, TargetDescription? Description, StopReply Stop)
{
    private const string ClientFeatures = "multiprocess+;swbreak+;hwbreak+;vContSupported+;error-message+;xmlRegisters=i386";

    public static async ValueTask<RspHandshake> PerformAsync(
        RspConnection connection, RspExchange exchange, RspClientOptions options, CancellationToken cancellationToken)
    {
        var features = await GreetAsync(exchange, cancellationToken).ConfigureAwait(false);
        exchange.Features = features;
        connection.Outgoing.MaxPayload = features.PacketSize - 1;
        var outcome = new RspOutcome[1];
        if (features.NoAckMode)
        {
            await exchange.SendAsync(new RspCommand[] { new StartNoAckMode() }, outcome, cancellationToken).ConfigureAwait(false);
            connection.NoAckMode = outcome[0].IsOk;
        }

        if (features.NonStop)
        {
            // As gdb does: gdbserver keeps the mode of the client before. One that refuses is tolerated, see RspExchange.ReadStopAsync.
            await exchange.SendAsync(new RspCommand[] { new StartAllStop() }, outcome, cancellationToken).ConfigureAwait(false);
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
            ? await TargetDescription.LoadAsync((file, token) => StubXml.FetchAsync(exchange, "features", file, token), cancellationToken).ConfigureAwait(false)
            : null;
        var stop = await exchange.QueryAsync(new QueryHaltReason(), cancellationToken).ConfigureAwait(false);
        return new RspHandshake(connection.Profile, description, stop);
    }

    private static async ValueTask<StubFeatures> GreetAsync(RspExchange exchange, CancellationToken cancellationToken)
    {
        try
        {
            return await exchange.TryQueryAsync(new QuerySupported(ClientFeatures), cancellationToken).ConfigureAwait(false) ?? StubFeatures.Minimal;
        }
        catch (RspException e) when (e.Kind == RspErrorKind.Timeout)
        {
            // QEMU accepts one connection and leaves a second one in the kernel's queue, where it looks connected.
            throw new RspException(RspErrorKind.Timeout, $"{e.Message}: nothing is answered, as by a stub that another client is connected to", e);
        }
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
}

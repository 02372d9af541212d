// The client: handshake, the states, resume, interrupt. What goes over the wire is RspExchange's business, how it is framed RspConnection's.
//
//   Stopped ──resume──► Running ──stop reply──► Stopped          Exited: W, X or `k`.  Closed: D or DisposeAsync.  Broken: see RspConnection.
//
// Requests while the target runs are refused here: with QEMU any byte stops the target. Only InterruptAsync may be called while another
// call is under way; everything else is one caller at a time, and a second one is told so.
using KTrace.Rsp.Commands;

namespace KTrace.Rsp;

public enum RspState
{
    Stopped,
    Running,

    /// <summary>The target ended, or was ended by <see cref="RspClient.KillAsync"/>. The stub closing the connection after it is no error.</summary>
    Exited,

    /// <summary>Detached or disposed.</summary>
    Closed,

    /// <summary>The connection is of no use any more; every call throws its reason.</summary>
    Broken,
}

/// <summary>One session with a gdb stub.</summary>
public sealed class RspClient : IAsyncDisposable
{
    private readonly RspConnection _connection;
    private readonly RspExchange _exchange;
    private readonly RspClientOptions _options;
    private readonly SemaphoreSlim _interruptGate = new(1, 1);
    private readonly RspCommand[] _single = new RspCommand[1];
    private readonly RspOutcome[] _singleOutcome = new RspOutcome[1];
    private StopReply _lastStop;
    private bool? _writesBinary;
    private bool _interrupted;
    private bool _closed;
    private int _busy;

    private RspClient(RspConnection connection, RspExchange exchange, RspClientOptions options, RspHandshake handshake)
    {
        _connection = connection;
        _exchange = exchange;
        _options = options;
        Profile = handshake.Profile;
        Description = handshake.Description;
        _lastStop = handshake.Stop;
        ContinueCommand = Features.VCont ? new ContinueAll() : new PlainContinue();
    }

    /// <summary>What the stub offered.</summary>
    public StubFeatures Features => _exchange.Features;

    /// <summary>What kind of stub it is.</summary>
    public StubProfile Profile { get; }

    /// <summary>What target.xml says; null when the stub has none.</summary>
    public TargetDescription? Description { get; }

    /// <summary>Where registers lie in `g`.</summary>
    /// <exception cref="RspException">Unsupported: the stub has no target.xml.</exception>
    public RegisterLayout Layout => Description?.Layout
        ?? throw new RspException(RspErrorKind.Unsupported, "the stub does not describe its registers (no qXfer:features:read)");

    public RspState State =>
        _closed ? RspState.Closed
        : LastStop is not StopReply.Stopped ? RspState.Exited
        : _connection.Reason is not null ? RspState.Broken
        : _exchange.Running ? RspState.Running
        : RspState.Stopped;

    /// <summary>Why the target stopped last; while it runs, before.</summary>
    public StopReply LastStop => _exchange.End ?? _lastStop;

    /// <summary>The continue that this stub takes, to end a batch with. Delivers no signal.</summary>
    public ResumeCommand ContinueCommand { get; }

    /// <summary>
    /// What this stub cannot do, each in words for people ("no watchpoints (Z2, Z3, Z4)"). What only a request can tell is added when the stub has refused one.
    /// </summary>
    public IReadOnlyList<string> Lacks =>
        [.. StubLacks.Of(Features, Profile, Description is not null), .. _exchange.Missing.Select(ability => $"no {ability}")];

    /// <summary>
    /// How many resumes were sent in all, refused ones too. What was read of registers and memory is of an earlier stop once this has changed.
    /// </summary>
    public long Resumes => _exchange.Resumes;

    /// <summary>
    /// How many requests were sent that may have changed the target or what requests mean: resumes, writes, the selection of a thread, monitor commands.
    /// While it stays the same, so does what g and m answer.
    /// </summary>
    public long Changes => _exchange.Changes;

    /// <summary>How many stop replies came that nobody had asked for (some QEMUs send two after an interrupt).</summary>
    public int StrayStopReplies => _exchange.StrayStopReplies;

    /// <summary>Connects and performs the handshake. The target is stopped afterwards (QEMU stops it on connecting), or has exited.</summary>
    /// <exception cref="RspException">Nobody listens, or what listens is no usable stub.</exception>
    public static async ValueTask<RspClient> ConnectAsync(
        RspEndpoint endpoint, RspClientOptions? options = null, CancellationToken cancellationToken = default) =>
        await ConnectAsync(
            await endpoint.ConnectAsync(options ?? new RspClientOptions(), cancellationToken).ConfigureAwait(false), options, cancellationToken)
            .ConfigureAwait(false);

    /// <summary>The same over a stream that is open already. A cancelled read of it must consume nothing, as with sockets.</summary>
    public static async ValueTask<RspClient> ConnectAsync(
        Stream stream, RspClientOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= new RspClientOptions();
        var connection = new RspConnection(stream, options);
        try
        {
            var exchange = new RspExchange(connection, options);
            var handshake = await RspHandshake.PerformAsync(connection, exchange, options, cancellationToken).ConfigureAwait(false);
            return new RspClient(connection, exchange, options, handshake);
        }
        catch
        {
            await connection.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// Sends several requests in one write (while the window allows, 16 KiB) and reads their replies in order: the way for a hot path. The
    /// last may be a resume; then the target runs when this returns, and <see cref="WaitForStopAsync"/> is next. A resume is under way
    /// even if a request before it was refused. Nothing is allocated beyond what the commands themselves are.
    /// </summary>
    /// <param name="outcomes">At least as many as commands; refusals are reported here and do not throw.</param>
    /// <exception cref="RspException">WrongState, Unsupported (nothing was sent), or the connection broke.</exception>
    /// <exception cref="ArgumentException">A resume that is not the last, too few outcomes, or memory that no packet can carry.</exception>
    /// <exception cref="OperationCanceledException">Cancelled: replies still under way are dropped by the next call; a resume that was sent is under way.</exception>
    public async ValueTask SendBatchAsync(
        ReadOnlyMemory<RspCommand> commands, Memory<RspOutcome> outcomes, CancellationToken cancellationToken = default)
    {
        Check(commands.Span, outcomes.Length);
        using var turn = Enter(needsStopped: true);
        await _exchange.SendAsync(commands, outcomes, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// The same with a resume at the end, for requests of which nobody wants to know what became of them: it does not wait for their replies, which <see cref="WaitForStopAsync"/> finds
    /// in front of the stop. That saves a hot path a wake-up.
    /// </summary>
    /// <param name="outcomes">At least as many as commands; of no meaning afterwards.</param>
    /// <exception cref="RspException">WrongState, Unsupported (nothing was sent), or the connection broke.</exception>
    public async ValueTask SendAndRunAsync(
        ReadOnlyMemory<RspCommand> commands, Memory<RspOutcome> outcomes, CancellationToken cancellationToken = default)
    {
        Check(commands.Span, outcomes.Length);
        using var turn = Enter(needsStopped: true);
        await _exchange.SendAsync(commands, outcomes, leavesReplies: true, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Sends one request.</summary>
    /// <returns>How many bytes the reply brought.</returns>
    /// <exception cref="RspException">Also ErrorReply or Unsupported: the stub refused.</exception>
    public async ValueTask<int> SendAsync(RspCommand command, CancellationToken cancellationToken = default)
    {
        using var turn = Enter(needsStopped: true);
        _single[0] = command;
        await _exchange.SendAsync(_single, _singleOutcome, cancellationToken).ConfigureAwait(false);
        var outcome = _singleOutcome[0];
        return outcome.Status is RspStatus.Refused or RspStatus.Unsupported ? throw _exchange.Refusal(command, outcome) : outcome.Length;
    }

    /// <summary>Reads memory of any size. What cannot be read is reported, never made up.</summary>
    public async ValueTask<MemoryRead> ReadMemoryAsync(ulong address, Memory<byte> destination, CancellationToken cancellationToken = default)
    {
        using var turn = Enter(needsStopped: true);
        return await MemoryTransfer.ReadAsync(_exchange, address, destination, cancellationToken).ConfigureAwait(false);
    }

    /// <exception cref="RspException">Also ErrorReply: the stub refused a piece; those before and after it may have been written.</exception>
    public async ValueTask WriteMemoryAsync(ulong address, ReadOnlyMemory<byte> source, CancellationToken cancellationToken = default)
    {
        using var turn = Enter(needsStopped: true);
        if (_writesBinary is null)
        {
            // As gdb asks: an empty X changes nothing.
            _single[0] = new WriteMemoryBinary(address, default);
            await _exchange.SendAsync(_single, _singleOutcome, cancellationToken).ConfigureAwait(false);
            _writesBinary = _singleOutcome[0].IsOk;
        }

        await MemoryTransfer.WriteAsync(_exchange, _writesBinary.Value, address, source, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Reads all registers of the selected thread into the block.</summary>
    public async ValueTask ReadRegistersAsync(RegisterBlock block, CancellationToken cancellationToken = default) =>
        await SendAsync(new ReadRegisters(block), cancellationToken).ConfigureAwait(false);

    /// <summary>Writes one register (`P`); a stub without P is given all of them (`G`).</summary>
    /// <param name="block">As last read, with the new value set.</param>
    public async ValueTask WriteRegisterAsync(RegisterDescription register, RegisterBlock block, CancellationToken cancellationToken = default)
    {
        try
        {
            await SendAsync(new WriteRegister(register, block), cancellationToken).ConfigureAwait(false);
        }
        catch (RspException e) when (e.Kind == RspErrorKind.Unsupported)
        {
            await SendAsync(new WriteRegisters(block), cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The step that this stub takes, to end a batch with.</summary>
    /// <param name="thread">Which one; null: the one that stopped last.</param>
    /// <param name="othersRun">Whether the others run meanwhile. Without vCont that is up to the stub.</param>
    /// <param name="signal">A signal to deliver, in gdb's numbers; 0 for none.</param>
    public ResumeCommand StepCommand(ThreadId? thread = null, bool othersRun = false, int signal = 0)
    {
        var which = thread ?? (LastStop as StopReply.Stopped)?.Thread;
        return Features.VCont && which is { } id ? new StepThread(id, othersRun, signal) : new PlainStep(signal);
    }

    /// <summary>The continue that delivers a signal to the thread that stopped last: what a program that stopped because of one would otherwise not get.</summary>
    /// <param name="signal">In gdb's numbers, as in <see cref="StopReply.Stopped.Signal"/>; 0 for none.</param>
    public ResumeCommand SignalCommand(int signal) =>
        Features.VCont ? new ContinueAll(signal, (LastStop as StopReply.Stopped)?.Thread) : new PlainContinue(signal);

    /// <summary>Lets all threads run.</summary>
    public async ValueTask ContinueAsync(CancellationToken cancellationToken = default) =>
        await SendAsync(ContinueCommand, cancellationToken).ConfigureAwait(false);

    /// <summary>Lets all threads run and delivers a signal: see <see cref="SignalCommand"/>.</summary>
    public async ValueTask ContinueAsync(int signal, CancellationToken cancellationToken = default) =>
        await SendAsync(SignalCommand(signal), cancellationToken).ConfigureAwait(false);

    /// <summary>Lets one thread execute one instruction. What the parameters mean: <see cref="StepCommand"/>.</summary>
    public async ValueTask StepAsync(ThreadId? thread = null, bool othersRun = false, CancellationToken cancellationToken = default)
    {
        if (!Features.VCont && thread is { } id)
        {
            await SendAsync(new SelectResumeThread(id), cancellationToken).ConfigureAwait(false);
        }

        await SendAsync(StepCommand(thread, othersRun), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Waits until the target stops or exits; when it does not run, gives the last stop at once.</summary>
    /// <exception cref="RspException">ErrorReply or Unsupported: the stub did not resume; or the connection broke.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; the target runs on, and waiting may be taken up again.</exception>
    public async ValueTask<StopReply> WaitForStopAsync(CancellationToken cancellationToken = default)
    {
        using var turn = Enter(needsStopped: false);
        if (!_exchange.Running)
        {
            return LastStop;
        }

        var stop = await _exchange.ReadStopAsync(cancellationToken).ConfigureAwait(false)
            ?? await InferStopAsync(cancellationToken).ConfigureAwait(false);

        // Under the gate, so that an interrupt is either sent before this or not at all.
        await _interruptGate.WaitAsync(CancellationToken.None).ConfigureAwait(false);
        var interrupted = _interrupted;
        _interrupted = false;
        _lastStop = stop;
        _exchange.Running = false;
        _connection.RestorePatience();
        _interruptGate.Release();
        if (interrupted && stop is StopReply.Stopped { Inferred: false })
        {
            // A second stop reply, if there is one, comes before this answer and is dropped with it.
            try
            {
                await _exchange.TryQueryAsync(new QueryVContActions(), cancellationToken).ConfigureAwait(false);
            }
            catch (RspException) when (_exchange.End is not null)
            {
                // It ended just then, and that is the later news.
            }
        }

        return LastStop;
    }

    /// <summary>
    /// Asks the running target to stop; <see cref="WaitForStopAsync"/>, which may be waiting already in another task, reports it. If the target stops
    /// without saying so, that call finds out after <see cref="RspClientOptions.InterruptTimeout"/>.
    /// </summary>
    /// <returns>False when the target does not run, and nothing was sent.</returns>
    /// <exception cref="RspException">Also Unsupported: this stub does not listen while the target runs (QEMU user mode); nothing was sent.</exception>
    public async ValueTask<bool> InterruptAsync(CancellationToken cancellationToken = default)
    {
        await _interruptGate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (State != RspState.Running)
            {
                return false;
            }

            if (Profile.DeafWhileRunning)
            {
                throw new RspException(RspErrorKind.Unsupported, $"{Profile.Name} does not listen while the program runs: it cannot be interrupted");
            }

            _interrupted = true;
            await _connection.InterruptAsync().ConfigureAwait(false);
            _connection.EndPatience(_options.InterruptTimeout);
            return true;
        }
        finally
        {
            _interruptGate.Release();
        }
    }

    /// <summary>The stub's threads; for QEMU, the machine's CPUs.</summary>
    public async ValueTask<IReadOnlyList<ThreadId>> ListThreadsAsync(CancellationToken cancellationToken = default)
    {
        using var turn = Enter(needsStopped: true);
        return await ThreadListing.ReadIdsAsync(_exchange, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The same with what the stub knows of each: names and cores from gdbserver, the state of CPUs from QEMU.</summary>
    public async ValueTask<IReadOnlyList<StubThread>> DescribeThreadsAsync(CancellationToken cancellationToken = default)
    {
        using var turn = Enter(needsStopped: true);
        return await ThreadListing.ReadAsync(_exchange, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>What the stub says lies where in memory.</summary>
    /// <exception cref="RspException">Also Unsupported: it has no memory map.</exception>
    public async ValueTask<IReadOnlyList<MemoryRegion>> ReadMemoryMapAsync(CancellationToken cancellationToken = default)
    {
        StubFeatures.Require(Features.MemoryMap, "a memory map (qXfer:memory-map:read)");
        using var turn = Enter(needsStopped: true);
        return MemoryRegion.ReadDocument(await StubXml.FetchAsync(_exchange, "memory-map", "", cancellationToken).ConfigureAwait(false));
    }

    /// <summary>The stub's current thread. QEMU always names the first CPU: prefer the stop reply's.</summary>
    public ValueTask<ThreadId> ReadCurrentThreadAsync(CancellationToken cancellationToken = default) =>
        QueryAsync(new QueryCurrentThread(), cancellationToken);

    /// <summary>The stub's words about a thread.</summary>
    /// <exception cref="RspException">Also ErrorReply: there is no such thread.</exception>
    public async ValueTask<string> ReadThreadExtraAsync(ThreadId thread, CancellationToken cancellationToken = default)
    {
        using var turn = Enter(needsStopped: true);
        return await ThreadListing.ReadExtraAsync(_exchange, thread, Profile, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>What QEMU masks during a step, and the bits it knows.</summary>
    /// <exception cref="RspException">Also Unsupported: the stub is not QEMU.</exception>
    public async ValueTask<(StepMask Known, StepMask InForce)> ReadStepMaskAsync(CancellationToken cancellationToken = default) =>
        (await QueryAsync(new QueryStepBits(), cancellationToken).ConfigureAwait(false),
            await QueryAsync(new QueryStepMask(), cancellationToken).ConfigureAwait(false));

    /// <exception cref="RspException">Also Unsupported: the stub is not QEMU.</exception>
    public async ValueTask SetStepMaskAsync(StepMask mask, CancellationToken cancellationToken = default) =>
        await SendAsync(new SetStepMask(mask), cancellationToken).ConfigureAwait(false);

    /// <summary>Makes memory requests mean physical addresses, or virtual ones again (QEMU).</summary>
    /// <exception cref="RspException">Also Unsupported: the stub is not QEMU.</exception>
    public async ValueTask SetPhysicalMemoryModeAsync(bool physical, CancellationToken cancellationToken = default) =>
        await SendAsync(new SetPhysicalMemoryMode(physical), cancellationToken).ConfigureAwait(false);

    /// <summary>Runs a command of the stub's console; for QEMU, of its human monitor.</summary>
    /// <returns>Its output, and whether that was cut at <see cref="RspClientOptions.MaxMonitorOutput"/>.</returns>
    public async ValueTask<(string Output, bool Truncated)> MonitorAsync(string command, CancellationToken cancellationToken = default)
    {
        using var turn = Enter(needsStopped: true);
        var request = new MonitorCommand(command, _options.MaxMonitorOutput);
        await _exchange.MonitorAsync(request, cancellationToken).ConfigureAwait(false);
        return (request.Output, request.Truncated);
    }

    /// <summary>Leaves the target alone; QEMU resumes it, with this client's breakpoints gone.</summary>
    public async ValueTask DetachAsync(CancellationToken cancellationToken = default)
    {
        var process = Features.Multiprocess ? (LastStop as StopReply.Stopped)?.Thread?.Process ?? 1 : (long?)null;
        await SendAsync(new Detach(process), cancellationToken).ConfigureAwait(false);
        await DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Ends the target; QEMU ends itself. Returns when the stub has closed the connection, or did not within the request timeout.</summary>
    public async ValueTask KillAsync(CancellationToken cancellationToken = default)
    {
        if (await InterruptAsync(cancellationToken).ConfigureAwait(false))
        {
            await WaitForStopAsync(cancellationToken).ConfigureAwait(false);
        }

        if (State == RspState.Exited)
        {
            return;
        }

        using var turn = Enter(needsStopped: true);
        await _exchange.PostAsync(new Kill(), cancellationToken).ConfigureAwait(false);
        _lastStop = new StopReply.Terminated(9);
        try
        {
            while (true)
            {
                await _connection.ReadAsync(_options.RequestTimeout, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (RspException)
        {
            // It closed, or stayed silent: either way there is nothing more to be had from it.
        }
    }

    /// <summary>Closes the connection. QEMU leaves the machine as it is: stopped if it was stopped.</summary>
    public ValueTask DisposeAsync()
    {
        _closed = true;
        return _connection.DisposeAsync();
    }

    private static void Check(ReadOnlySpan<RspCommand> commands, int outcomes)
    {
        if (outcomes < commands.Length)
        {
            throw new ArgumentException($"{commands.Length} commands need as many outcomes, there are {outcomes}");
        }

        for (var i = 0; i < commands.Length - 1; i++)
        {
            if (commands[i].Resumes)
            {
                throw new ArgumentException("a request that resumes the target must be the last of a batch");
            }
        }
    }

    private async ValueTask<TReply> QueryAsync<TReply>(RspQuery<TReply> query, CancellationToken cancellationToken)
    {
        using var turn = Enter(needsStopped: true);
        return await _exchange.QueryAsync(query, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>An interrupted target said nothing: asks twice whether it is stopped. The first question may itself be what stops it.</summary>
    private async ValueTask<StopReply> InferStopAsync(CancellationToken cancellationToken)
    {
        for (var question = 0; question < 2; question++)
        {
            _connection.EndPatience(_options.InterruptTimeout);
            var (answered, stop) = await _exchange.ProbeAsync(second: question == 1, cancellationToken).ConfigureAwait(false);
            if (answered)
            {
                var thread = (LastStop as StopReply.Stopped)?.Thread;
                return stop ?? new StopReply.Stopped(2, thread, StopReason.Signal.Only) { Inferred = true };
            }
        }

        throw _connection.Break(RspErrorKind.Timeout, "the stub neither reported a stop after an interrupt nor answers requests");
    }

    private Turn Enter(bool needsStopped)
    {
        if (Interlocked.CompareExchange(ref _busy, 1, 0) != 0)
        {
            throw new RspException(RspErrorKind.WrongState, "another request is under way; only an interrupt may be sent meanwhile");
        }

        var refusal = State switch
        {
            RspState.Broken => null,
            RspState.Closed => "the session is closed",
            RspState.Exited when needsStopped => $"the target has ended ({LastStop})",
            RspState.Running when needsStopped => "the target runs: a request would stop it; interrupt it and wait for its stop first",
            _ => "",
        };
        if (refusal?.Length == 0)
        {
            return new Turn(this);
        }

        Volatile.Write(ref _busy, 0);
        if (refusal is null)
        {
            _connection.EnsureUsable();
        }

        throw new RspException(RspErrorKind.WrongState, refusal ?? "the connection is broken");
    }

    /// <summary>The one request that may be under way.</summary>
    private readonly struct Turn(RspClient client) : IDisposable
    {
        public void Dispose() => Volatile.Write(ref client._busy, 0);
    }
}

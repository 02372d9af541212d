// One machine behind a stub. A stub's threads are the machine's CPUs: QEMU numbers them from 1 as threads of process 1 (gdbstub, "cpu_gdb_index").
// Registers and memory belong to a stop: what was read is kept until the machine runs again.
using KTrace.Debugger.Attach;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Memory;
using KTrace.Debugger.Phases;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger;

/// <summary>How a machine is reached.</summary>
public sealed record MachineOptions
{
    public RspClientOptions Rsp { get; init; } = new();

    /// <summary>The memory file that the machine's QEMU shares (QemuProcess.RamFile), to read RAM without the stub; null: all memory is read through the stub.</summary>
    public string? RamFile { get; init; }
}

/// <summary>A stopped or running machine: its CPUs, their registers, its memory, and what is set to stop it. Knows nothing of kernels. One caller at a time.</summary>
public sealed class Machine : IAsyncDisposable
{
    private readonly RegisterBridge _bridge;
    private readonly Dictionary<int, (RegisterSet Set, RegisterBlock Block)> _registers = [];
    private IReadOnlyList<ThreadId>? _threads;
    private long _resumesSeen;
    private int _selected;
    private bool? _usesKvm;
    private (long Resumes, int Cpu)? _meant;

    /// <param name="architecture">Of the kernel that runs or will run in it.</param>
    /// <param name="ram">Its RAM where that is mapped; it is the machine's from now on.</param>
    /// <exception cref="TargetException">The stub's registers are not those of the architecture.</exception>
    public Machine(RspClient client, Architecture architecture, MappedRam? ram = null)
    {
        if (!RegisterBridge.Fits(client.Layout, architecture))
        {
            throw new TargetException(
                $"this stub has no registers of {architecture.Name}", architecture.WordSize == 8 ? "use qemu-system-x86_64" : "use qemu-system-i386");
        }

        (Client, Architecture) = (client, architecture);
        _bridge = new RegisterBridge(client.Layout, architecture);
        Memory = new GuestMemory(client, architecture.WordSize, ram);
        Sites = new BreakpointSites(client, architecture);
    }

    /// <summary>Connects to a stub and, where its QEMU shares the machine's RAM, maps that.</summary>
    /// <param name="architecture">Of the kernel that runs or will run in it; null: as the CPUs' registers tell.</param>
    /// <exception cref="TargetException">The stub's registers are not those of the architecture.</exception>
    /// <exception cref="RspException">Nobody listens, or what listens is no usable stub.</exception>
    public static async Task<Machine> ConnectAsync(RspEndpoint endpoint, Architecture? architecture, MachineOptions options, CancellationToken cancellationToken = default)
    {
        var client = await RspClient.ConnectAsync(endpoint, options.Rsp, cancellationToken);
        MappedRam? ram = null;
        try
        {
            // For writing too: non-stop tracepoints share a piece of it with the guest.
            ram = await MappedRam.TryOpenAsync(options.RamFile, client, FileAccess.ReadWrite, cancellationToken)
                ?? await MappedRam.TryOpenAsync(options.RamFile, client, FileAccess.Read, cancellationToken);
            return new Machine(client, architecture ?? await KernelIdentity.ArchitectureOfAsync(client, cancellationToken), ram);
        }
        catch
        {
            ram?.Dispose();
            await client.DisposeAsync();
            throw;
        }
    }

    public RspClient Client { get; }

    public Architecture Architecture { get; }

    public GuestMemory Memory { get; }

    /// <summary>What the stub was told to stop at.</summary>
    public BreakpointSites Sites { get; }

    /// <summary>The index of the CPU that stopped last, from the stop reply (QEMU's qC names the first CPU whichever stopped); 0 where the stub names none.</summary>
    public int StoppedCpu => _meant is { } meant && meant.Resumes == Client.Resumes ? meant.Cpu : (Client.LastStop as StopReply.Stopped)?.Thread is { } thread ? IndexOf(thread) : 0;

    /// <summary>
    /// Whether the guest runs on the host's own CPU (KVM). Then a software breakpoint is an instruction written into guest memory, which is lost when code is loaded over it;
    /// there are four hardware breakpoints, and a step cannot keep interrupts out.
    /// </summary>
    public async ValueTask<bool> UsesKvmAsync(CancellationToken cancellationToken = default)
    {
        if (_usesKvm is null)
        {
            try
            {
                // QEMU's system emulator alone has physical memory, and this monitor command: "kvm support: enabled".
                _usesKvm = Client.Profile.PhysicalMemoryMode
                    && (await Client.MonitorAsync("info kvm", cancellationToken)).Output.Contains("enabled", StringComparison.Ordinal);
            }
            catch (RspException e) when (e.Kind is RspErrorKind.ErrorReply or RspErrorKind.Unsupported)
            {
                _usesKvm = false;
            }
        }

        return _usesKvm.Value;
    }

    /// <summary>Chooses how code breakpoints are set from now on.</summary>
    /// <param name="isInMemory">The kernel is in memory: nothing is written over its code any more.</param>
    public async ValueTask ChooseCodeBreakpointsAsync(bool isInMemory, CancellationToken cancellationToken = default) =>
        Sites.CodeKind = !isInMemory && await UsesKvmAsync(cancellationToken) ? BreakpointKind.Hardware : BreakpointKind.Software;

    /// <summary>The stub's threads, by CPU index.</summary>
    public async ValueTask<IReadOnlyList<ThreadId>> ThreadsAsync(CancellationToken cancellationToken = default) =>
        _threads ??= await Client.ListThreadsAsync(cancellationToken);

    /// <summary>A CPU's registers at this stop; the set is kept and shared: clone it before changing it.</summary>
    /// <param name="cpu">Index, as in <see cref="ThreadsAsync"/>; null: the one that stopped.</param>
    public async ValueTask<RegisterSet> RegistersAsync(int? cpu = null, CancellationToken cancellationToken = default) =>
        (await ReadAsync(cpu ?? StoppedCpu, cancellationToken)).Set;

    /// <summary>Where a CPU executes: in real mode the stub's pc is an offset, and the code segment's base comes on top.</summary>
    public async ValueTask<ulong> LinearPcAsync(int cpu, CancellationToken cancellationToken = default)
    {
        var (set, block) = await ReadAsync(cpu, cancellationToken);
        return Client.Layout.TryFind("cr0", out var cr0) && block.TryGetValue(cr0, out var value) && (value & 1) == 0
            ? await RealMode.LinearPcAsync(Client, cpu, set, block, cancellationToken)
            : set.ProgramCounter;
    }

    /// <summary>The same as the stub sent them, with registers that the architecture does not name (segments, vectors).</summary>
    public async ValueTask<RegisterBlock> RegisterBlockAsync(int? cpu = null, CancellationToken cancellationToken = default) =>
        (await ReadAsync(cpu ?? StoppedCpu, cancellationToken)).Block;

    /// <summary>Reads the registers of all CPUs in one batch, for <see cref="RegistersAsync"/> to have them.</summary>
    public async ValueTask ReadAllRegistersAsync(CancellationToken cancellationToken = default)
    {
        Refresh();
        var threads = await ThreadsAsync(cancellationToken);
        var commands = new List<RspCommand>();
        var blocks = new List<(int Cpu, int Place, RegisterBlock Block)>();
        foreach (var cpu in Enumerable.Range(0, threads.Count).Where(i => !_registers.ContainsKey(i)))
        {
            commands.Add(new SelectThread(threads[cpu]));
            var block = new RegisterBlock(Client.Layout);
            blocks.Add((cpu, commands.Count, block));
            commands.Add(new ReadRegisters(block));
        }

        if (blocks.Count == 0)
        {
            return;
        }

        commands.Add(new SelectThread(await ThreadAsync(_selected, cancellationToken)));
        var outcomes = new RspOutcome[commands.Count];
        await Client.SendBatchAsync(commands.ToArray(), outcomes, cancellationToken);
        foreach (var (cpu, place, block) in blocks.Where(b => outcomes[b.Place - 1].IsOk && outcomes[b.Place].IsOk))
        {
            _registers[cpu] = (_bridge.ToRegisterSet(block), block);
        }
    }

    /// <summary>Writes one register of a CPU, named as the stub names it.</summary>
    /// <exception cref="TargetException">There is no such register, or the value does not fit.</exception>
    public async ValueTask SetRegisterAsync(int cpu, string name, ulong value, CancellationToken cancellationToken = default)
    {
        var (_, block) = await ReadAsync(cpu, cancellationToken);
        if (!Client.Layout.TryFind(name, out var register))
        {
            throw new TargetException($"this machine has no register {name}", null);
        }

        try
        {
            block.SetValue(register, value);
        }
        catch (ArgumentException e)
        {
            throw new TargetException(e.Message, null);
        }

        await SelectAsync(cpu, cancellationToken);
        try
        {
            await Client.WriteRegisterAsync(register, block, cancellationToken);
        }
        finally
        {
            _registers.Remove(cpu);
            await SelectAsync(StoppedCpu, CancellationToken.None);
        }
    }

    /// <summary>Makes memory requests of the stub mean this CPU's address space until the next stop or the next selection.</summary>
    public async ValueTask SelectAsync(int cpu, CancellationToken cancellationToken = default)
    {
        Refresh();
        if (cpu == _selected)
        {
            return;
        }

        await Client.SendAsync(new SelectThread(await ThreadAsync(cpu, cancellationToken)), cancellationToken);
        _selected = cpu;
    }

    /// <summary>Lets one CPU run to an address, while the others stay where they are, and bounds how long.</summary>
    /// <param name="owner">Of the breakpoint there.</param>
    /// <returns>False when it stopped elsewhere.</returns>
    internal async ValueTask<bool> RunAloneAsync(int cpu, ulong address, TimeSpan limit, object owner, CancellationToken cancellationToken)
    {
        await Sites.AddAsync(BreakpointSite.Code(address), owner, cancellationToken);
        await Client.SendAsync(new ContinueThread(await ThreadAsync(cpu, cancellationToken)), cancellationToken);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(limit);
        StopReply stop;
        try
        {
            stop = await Client.WaitForStopAsync(patience.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            await Client.InterruptAsync(cancellationToken);
            stop = await Client.WaitForStopAsync(cancellationToken);
        }

        if (stop is not StopReply.Stopped)
        {
            return false;
        }

        await Sites.RemoveAsync(BreakpointSite.Code(address), owner, cancellationToken);
        return (await RegistersAsync(cpu, cancellationToken)).ProgramCounter == address;
    }

    /// <summary>Another CPU was let run alone since the stop that matters: until the machine runs again, this one is the one that stopped, for the stub too.</summary>
    internal async ValueTask MeanAsync(int cpu, CancellationToken cancellationToken)
    {
        var thread = await ThreadAsync(cpu, cancellationToken);
        Refresh();
        _meant = (Client.Resumes, cpu);
        await SelectAsync(cpu, cancellationToken);

        // What `cADDR` moves.
        await Client.SendAsync(new SelectResumeThread(thread), cancellationToken);
    }

    /// <summary>The stub's name of a CPU.</summary>
    /// <exception cref="TargetException">There is no such CPU.</exception>
    public async ValueTask<ThreadId> ThreadAsync(int cpu, CancellationToken cancellationToken = default)
    {
        var threads = await ThreadsAsync(cancellationToken);
        return (uint)cpu < (uint)threads.Count
            ? threads[cpu]
            : throw new TargetException($"there is no CPU {cpu}: this machine has {threads.Count}, from 0 to {threads.Count - 1}", null);
    }

    public async ValueTask DisposeAsync()
    {
        await Client.DisposeAsync();
        Memory.Ram?.Dispose();
    }

    private async ValueTask<(RegisterSet Set, RegisterBlock Block)> ReadAsync(int cpu, CancellationToken cancellationToken)
    {
        Refresh();
        if (_registers.TryGetValue(cpu, out var known))
        {
            return known;
        }

        var block = new RegisterBlock(Client.Layout);
        await SelectAsync(cpu, cancellationToken);
        try
        {
            await Client.ReadRegistersAsync(block, cancellationToken);
        }
        finally
        {
            // What asks the stub next means the CPU that stopped, and does not know of this one.
            await SelectAsync(StoppedCpu, CancellationToken.None);
        }

        return _registers[cpu] = (_bridge.ToRegisterSet(block), block);
    }

    /// <summary>The machine ran since: nothing that was read holds any more, and the stub has selected the CPU that stopped.</summary>
    private void Refresh()
    {
        if (_resumesSeen != Client.Resumes)
        {
            _resumesSeen = Client.Resumes;
            _registers.Clear();
            _selected = StoppedCpu;
        }
    }

    private int IndexOf(ThreadId thread)
    {
        for (var i = 0; _threads is not null && i < _threads.Count; i++)
        {
            if (_threads[i].Thread == thread.Thread)
            {
                return i;
            }
        }

        return thread.Thread is > 0 and < int.MaxValue ? (int)thread.Thread - 1 : 0;
    }
}

// Every quirk of a stub that this client knows, in one place. Negotiated facts are in StubFeatures; these are what a stub cannot say of
// itself. QEMU's were read in gdbstub.c of 7.2 and seen on 7.2.22 with TCG; gdbserver is 13.1, Valgrind 3.19. Most are facts that the client
// obeys with every stub; those that change what is sent say so. Each is proven on the real peer by the tests in Rsp/Peers.
namespace KTrace.Rsp;

/// <summary>What a kind of stub does that the protocol does not say.</summary>
public sealed record StubProfile
{
    public required string Name { get; init; }

    /// <summary>
    /// Replies need no acknowledgement before the next request: a request's `$` stands for it. Then an acknowledgement may be put in
    /// front of the next write, and requests may be pipelined with acknowledgements on. QEMU: gdb_read_byte drops the reply it keeps for a
    /// resend when it sees `$`. It matters, because QEMU 7.2 has no QStartNoAckMode, and because an acknowledgement that comes
    /// after a pipelined resume would stop the target.
    /// </summary>
    public bool TakesRequestAsAck { get; init; }

    /// <summary>
    /// A byte sent while the target runs stops it and is lost, the first of a request too. QEMU: gdb_read_byte calls vm_stop; 7.2 reports a stop for any
    /// byte, 8.1 and later only for 0x03. The client sends nothing but 0x03 while the target runs, with any stub.
    /// </summary>
    public bool AnyByteStopsTarget { get; init; }

    /// <summary>`?` deletes all breakpoints and watchpoints. QEMU: handle_target_halt. The client sends it in the handshake only.</summary>
    public bool HaltReasonDeletesBreakpoints { get; init; }

    /// <summary>p and P are refused until target.xml was read. QEMU: gdb_has_xml. The handshake reads it always.</summary>
    public bool RegistersNeedTargetXml { get; init; }

    /// <summary>qC names the first CPU whichever stopped. QEMU: handle_query_curr_tid. The stop reply's thread is right.</summary>
    public bool CurrentThreadIsAlwaysFirst { get; init; }

    /// <summary>A stop reply gives no reason for breakpoints and steps. QEMU: gdb_vm_state_change. Callers compare the pc.</summary>
    public bool StopsCarryNoReason { get; init; }

    /// <summary>
    /// An interrupt's stop reply may be missing, or a second one may follow. QEMU 8.1 and 8.2 changed this code (allow_stop_reply).
    /// The client asks something harmless after an interrupt, and drops stop replies that come before its answer.
    /// </summary>
    public bool InterruptReplyIsUnreliable { get; init; }

    /// <summary>bs and bc abort the stub when it did not offer them. QEMU outside replay. The client sends them to no stub that did not.</summary>
    public bool ReverseAbortsUnlessOffered { get; init; }

    /// <summary>`k` ends the whole emulator, and D resumes the machine. QEMU: handle_kill, handle_detach.</summary>
    public bool KillEndsEmulator { get; init; }

    /// <summary>Connecting stops a running target, and the stop reply for that may come before any request. QEMU: gdb_chr_event.</summary>
    public bool ConnectingStopsTarget { get; init; }

    /// <summary>m over a range with an unmapped page is refused as a whole, not answered in part. QEMU: handle_read_mem, E14.</summary>
    public bool RefusesWholeRange { get; init; }

    /// <summary>m and M may mean physical addresses, by Qqemu.PhyMemMode. QEMU system only.</summary>
    public bool PhysicalMemoryMode { get; init; }

    /// <summary>The stub has a console for qRcmd.</summary>
    public bool Monitor { get; init; }

    /// <summary>
    /// Z2, Z3 and Z4 are answered with an empty packet. QEMU user mode: gdb_breakpoint_insert knows GDB_BREAKPOINT_SW and HW only there.
    /// </summary>
    public bool NoWatchpoints { get; init; }

    /// <summary>
    /// The stub listens only while the target is stopped: an interrupt has no effect, and stays in the socket. QEMU user mode: gdb_handlesig reads the
    /// socket in the thread that stopped. The client refuses to interrupt.
    /// </summary>
    public bool DeafWhileRunning { get; init; }

    /// <summary>
    /// A qThreadExtraInfo for a thread that is not there is never answered. QEMU: handle_query_thread_extra returns without a reply. The
    /// client asks `T` first.
    /// </summary>
    public bool SilentAboutMissingThreads { get; init; }

    /// <summary>Every watchpoint's stop is called a write, whatever was watched for. Valgrind's gdbserver.</summary>
    public bool CallsEveryWatchpointWrite { get; init; }

    /// <summary>
    /// A step from a breakpoint's address executes its instruction, with the breakpoint inserted. QEMU: cpu_single_step goes before breakpoints; Valgrind. With
    /// others the same breakpoint is met again at once: callers remove it, step, and insert it.
    /// </summary>
    public bool StepsPastBreakpoints { get; init; }

    /// <summary>
    /// `cADDR` moves the pc of the thread that stopped last, and all threads run. QEMU: handle_continue, gdb_set_cpu_pc on the CPU that
    /// gdb_set_stop_cpu chose. One request less than writing the pc, and gdb itself never uses it, so it is not asked of stubs that were not tried.
    /// </summary>
    public bool ContinuesFromAddress { get; init; }

    /// <summary>
    /// target.xml may be asked for only after `Hg` chose a thread. gdbserver 13.1: without one it fails an assertion in
    /// tdesc_get_features_xml and ends. The handshake sends `Hg` to it, as gdb does to all.
    /// </summary>
    public bool DescriptionNeedsThread { get; init; }

    public static StubProfile Qemu { get; } = new()
    {
        Name = "QEMU",
        TakesRequestAsAck = true,
        AnyByteStopsTarget = true,
        HaltReasonDeletesBreakpoints = true,
        RegistersNeedTargetXml = true,
        CurrentThreadIsAlwaysFirst = true,
        StopsCarryNoReason = true,
        InterruptReplyIsUnreliable = true,
        ReverseAbortsUnlessOffered = true,
        KillEndsEmulator = true,
        ConnectingStopsTarget = true,
        RefusesWholeRange = true,
        StepsPastBreakpoints = true,
        PhysicalMemoryMode = true,
        Monitor = true,
        SilentAboutMissingThreads = true,
        ContinuesFromAddress = true,
    };

    /// <summary>
    /// `qemu-x86_64 -g`: the same code, with a program for a machine and threads for CPUs. But its put_packet_binary waits for the acknowledgement of each
    /// reply and swallows what comes before it, so requests go one at a time, and QEMU ends only when its last packet is acknowledged.
    /// </summary>
    public static StubProfile QemuUser { get; } = new()
    {
        Name = "QEMU user mode",
        HaltReasonDeletesBreakpoints = true,
        RegistersNeedTargetXml = true,
        StopsCarryNoReason = true,
        KillEndsEmulator = true,
        RefusesWholeRange = true,
        StepsPastBreakpoints = true,
        NoWatchpoints = true,
        DeafWhileRunning = true,
        SilentAboutMissingThreads = true,
    };

    public static StubProfile Gdbserver { get; } = new() { Name = "gdbserver", DescriptionNeedsThread = true, Monitor = true };

    /// <summary>The gdbserver inside Valgrind, reached through the program vgdb: gdbserver as it was in 2006, with some of today's packets.</summary>
    public static StubProfile Vgdb { get; } = new()
    {
        Name = "Valgrind",
        StopsCarryNoReason = true,
        Monitor = true,
        StepsPastBreakpoints = true,
        CallsEveryWatchpointWrite = true,
    };

    /// <summary>A stub of which nothing is known: acknowledged packet by packet, trusted in nothing.</summary>
    public static StubProfile Unknown { get; } = new() { Name = "unknown stub", InterruptReplyIsUnreliable = true, Monitor = true };

    /// <summary>
    /// Tells stubs apart by what only they answer or offer: QEMU's user mode gives the auxiliary vector, of which a machine has none; gdbserver takes
    /// QProgramSignals since 2012, and Valgrind took QPassSignals and QCatchSyscalls over without it.
    /// </summary>
    /// <param name="answersStepBits">Whether qqemu.sstepbits was answered.</param>
    internal static StubProfile Detect(StubFeatures features, bool answersStepBits) =>
        answersStepBits ? features.Has("qXfer:auxv:read") ? QemuUser : Qemu
        : features.Has("QProgramSignals") || features.Has("qXfer:libraries-svr4:read") ? Gdbserver
        : features.Has("QPassSignals") && features.Has("QCatchSyscalls") && !features.Multiprocess ? Vgdb
        : Unknown;
}

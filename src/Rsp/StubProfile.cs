// Every quirk of a stub that this client knows, in one place. Negotiated facts are in StubFeatures; these are what a stub cannot say of
// itself. QEMU's were read in gdbstub.c of 7.2 and seen on 7.2.22 with TCG.
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
    /// A byte sent while the target runs stops it; one other than 0x03 brings no stop reply. QEMU: gdb_read_byte calls vm_stop. The client
    /// sends nothing but 0x03 while the target runs, with any stub.
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

    /// <summary>Stepping masks are adjustable by Qqemu.sstep, and memory may be physical by Qqemu.PhyMemMode.</summary>
    public bool QemuExtensions { get; init; }

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
        QemuExtensions = true,
        ContinuesFromAddress = true,
    };

    public static StubProfile Gdbserver { get; } = new() { Name = "gdbserver", DescriptionNeedsThread = true };

    /// <summary>A stub of which nothing is known: acknowledged packet by packet, trusted in nothing.</summary>
    public static StubProfile Unknown { get; } = new() { Name = "unknown stub", InterruptReplyIsUnreliable = true };

    /// <summary>Tells stubs apart by what only they answer.</summary>
    /// <param name="answersStepBits">Whether qqemu.sstepbits was answered.</param>
    internal static StubProfile Detect(StubFeatures features, bool answersStepBits) =>
        answersStepBits ? Qemu
        : features.Has("qXfer:libraries-svr4:read") || features.Has("QCatchSyscalls") ? Gdbserver
        : Unknown;
}

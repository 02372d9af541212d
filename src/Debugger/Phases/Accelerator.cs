// TCG and KVM differ in what a breakpoint is (QEMU 7.2: accel/tcg/tcg-accel-ops.c, target/i386/kvm/kvm.c). QEMU's monitor says which it is; a stub without a monitor says it by the step bits:
// KVM offers no NOTIMER (gdbstub.c, "qqemu.sstepbits").
using KTrace.Debugger.Breakpoints;
using KTrace.Rsp;
using KTrace.Rsp.Commands;

namespace KTrace.Debugger.Phases;

/// <summary>What executes the guest's instructions.</summary>
/// <param name="IsKvm">The host's processor, by KVM; otherwise an emulator.</param>
/// <param name="StepBits">What a single step can mask.</param>
public sealed record Accelerator(bool IsKvm, StepMask StepBits)
{
    /// <summary>x86 has four debug registers, for breakpoints and watchpoints together; null: any number.</summary>
    public int? HardwareSites => IsKvm ? 4 : null;

    /// <summary>Bytes that one watchpoint may cover; null: any number.</summary>
    public int? WatchedBytes => IsKvm ? 8 : null;

    /// <summary>How breakpoints on code are to be set while it is not in memory, or not mapped: a software breakpoint of KVM is an int3 in guest memory.</summary>
    public BreakpointKind EarlyCodeKind => IsKvm ? BreakpointKind.Hardware : BreakpointKind.Software;

    /// <summary>Asks the stub; null when it is no QEMU.</summary>
    /// <exception cref="RspException">The connection broke, or the machine runs.</exception>
    public static async ValueTask<Accelerator?> ReadAsync(RspClient client, CancellationToken cancellationToken = default)
    {
        if (!client.Profile.QemuExtensions)
        {
            return null;
        }

        var (known, _) = await client.ReadStepMaskAsync(cancellationToken);
        try
        {
            var (text, _) = await client.MonitorAsync("info kvm", cancellationToken);
            return new Accelerator(text.Contains("kvm support: enabled", StringComparison.Ordinal), known);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.ErrorReply or RspErrorKind.Unsupported)
        {
            return new Accelerator(!known.HasFlag(StepMask.NoTimers), known);
        }
    }
}

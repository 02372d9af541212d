using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>How far a CPU has come on the way from reset to the running kernel, told by its control registers and where it executes.</summary>
public enum BootPhase
{
    /// <summary>Not told by the registers that the stub sends.</summary>
    Unknown,

    /// <summary>CR0.PE is clear: firmware, boot loader, or the kernel's setup code (arch/x86/boot). Addresses are segment × 16 + offset.</summary>
    RealMode,

    /// <summary>Protected or long mode outside the kernel: firmware or boot loader.</summary>
    Firmware,

    /// <summary>arch/x86/boot/compressed: unpacks the kernel.</summary>
    Decompressor,

    /// <summary>The kernel's own first code (head_64.S, head_32.S), at physical addresses.</summary>
    PhysicalKernel,

    /// <summary>The kernel at its virtual addresses.</summary>
    Kernel,

    /// <summary>A program: CPL 3.</summary>
    User,
}

/// <summary>Where a CPU stands.</summary>
/// <param name="LinearPc">The address of the next instruction, with the CS base where it counts.</param>
/// <param name="Map">Names for code of this phase, at the linear addresses where it runs now; null when there are none.</param>
/// <param name="Words">The phase for people, such as <c>real mode, f000:fff0 (reset vector)</c>.</param>
public sealed record PhaseLocation(BootPhase Phase, ulong LinearPc, KernelMap? Map, string Words)
{
    /// <summary>The CS base: what is added to the pc register to get <see cref="LinearPc"/>. Return addresses on a real-mode stack lack it too.</summary>
    public ulong CodeBase { get; init; }

    /// <summary>How instructions are to be decoded here: 16, 32 or 64.</summary>
    public int CodeBits { get; init; }
}

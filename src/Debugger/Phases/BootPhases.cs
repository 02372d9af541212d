// x86 from reset to user space (Intel SDM volume 3, 10.1.4 "First Instruction Executed"; Documentation/arch/x86/boot.rst; arch/x86/boot, arch/x86/boot/compressed/head_{32,64}.S,
// arch/x86/kernel/head_{32,64}.S, 6.1): real mode while CR0.PE is clear; then CPL 3 is a program, and everything else is told by where the pc stands: in the kernel's half of the
// address space with paging on, in the kernel's text at physical addresses (proven by its build id there), in code that is the decompressor's by its bytes; or elsewhere.
// A stub says neither the CS base nor the kind of code segment; outside the kernel they are asked of QEMU's monitor (0.3 ms a stop).
using System.Globalization;
using KTrace.Rsp;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Phases;

/// <summary>Tells where a CPU stands between reset and user space, with names where files have them. One caller at a time.</summary>
/// <param name="image">The kernel that runs or will run; null when it is not known.</param>
/// <param name="code">What runs before it.</param>
public sealed class BootPhases(KernelImage? image, BootCode code)
{
    private const ulong ProtectionEnabled = 1;
    private const ulong PagingEnabled = 1UL << 31;
    private const ulong LongModeActive = 1 << 10;
    private const ulong PageOffset32 = 0xc0000000;

    // __USER32_CS without its privilege level (arch/x86/include/asm/segment.h).
    private const ulong User32 = 0x20;

    private readonly KernelPlacement? _placement = image is null ? null : new KernelPlacement(image);
    private KernelMap? _physical;

    /// <summary>The kernel as it is known to run, with its modules. Found by itself, without modules, as soon as a CPU stands in its text.</summary>
    public KernelMap? Kernel { get; set; }

    /// <param name="cpu">Index; null: the CPU that stopped.</param>
    /// <exception cref="RspException">The stub is broken, or the machine runs.</exception>
    public async ValueTask<PhaseLocation> LocateAsync(Machine machine, int? cpu = null, CancellationToken cancellationToken = default)
    {
        var index = cpu ?? machine.StoppedCpu;
        var registers = await machine.RegisterBlockAsync(index, cancellationToken);
        var pc = Value(registers, machine.Architecture.RegisterNames[machine.Architecture.ProgramCounter]) ?? 0;
        if (Value(registers, "cr0") is not { } cr0 || Value(registers, "cs") is not { } cs)
        {
            return new PhaseLocation(BootPhase.Unknown, pc, Kernel, "the stub does not send control registers");
        }

        if ((cr0 & ProtectionEnabled) != 0 && (cs & 3) == 3)
        {
            var isCompatible = (cs & ~3UL) == User32;
            return new PhaseLocation(BootPhase.User, pc, null, "user program") { CodeBits = IsLong(registers) && !isCompatible ? 64 : 32 };
        }

        // Memory requests mean the address space of the CPU that the stub has selected.
        await machine.SelectAsync(index, cancellationToken);
        try
        {
            return (cr0 & ProtectionEnabled) == 0 ? await InRealModeAsync(machine, index, cs, pc, cancellationToken)
                : (cr0 & PagingEnabled) != 0 && IsKernelAddress(pc, IsLong(registers)) ? await InKernelAsync(machine, pc, IsLong(registers), cancellationToken)
                : await OutsideAsync(machine, index, pc, IsLong(registers), cancellationToken);
        }
        finally
        {
            await machine.SelectAsync(machine.StoppedCpu, CancellationToken.None);
        }
    }

    /// <summary>x86-64: the upper half. i386: above PAGE_OFFSET, which is 3 GiB in most kernels; a 64-bit kernel never runs in 32-bit mode with paging.</summary>
    private bool IsKernelAddress(ulong pc, bool isLong) =>
        isLong ? pc >> 63 != 0 : image?.Architecture is not X86_64 && pc >= (_placement?.PhysicalOffset ?? PageOffset32) && pc <= uint.MaxValue;

    private async ValueTask<PhaseLocation> InKernelAsync(Machine machine, ulong pc, bool isLong, CancellationToken cancellationToken)
    {
        if (Kernel is null && _placement is not null && await _placement.TryFindAsync(machine.Memory, pc, 0, cancellationToken) is { } slide)
        {
            Kernel = new KernelMap(image!, slide);
        }

        return new PhaseLocation(BootPhase.Kernel, pc, Kernel, Kernel is null ? "kernel (which one is not known)" : "kernel") { CodeBits = isLong ? 64 : 32 };
    }

    private async ValueTask<PhaseLocation> InRealModeAsync(Machine machine, int cpu, ulong cs, ulong ip, CancellationToken cancellationToken)
    {
        var bases = await SegmentBases.TryReadAsync(machine.Client, cpu, cancellationToken);

        var start = bases?.CodeBase ?? RealMode.CodeBase(cs, ip);
        var linear = (start + ip) & uint.MaxValue;
        var place = string.Create(CultureInfo.InvariantCulture, $"{cs:x4}:{ip:x4}");
        var location = new PhaseLocation(BootPhase.RealMode, linear, null, "") { CodeBase = start, CodeBits = bases?.CodeBits ?? 16 };
        if (await FindSetupAsync(machine, linear, cancellationToken) is { } setup)
        {
            return location with { Map = setup.Map, Words = $"real mode, {place}, {setup.Words}" };
        }

        var where = linear switch
        {
            RealMode.ResetBase + RealMode.ResetOffset => " (reset vector)",
            >= 0xe0000 and < 0x110000 or >= 0xff000000 => " (BIOS)",
            >= 0xc0000 and < 0xe0000 => " (option ROM)",
            >= 0x7c00 and < 0x7e00 => " (boot sector)",
            _ => "",
        };
        return location with { Words = $"real mode, {place}{where}" };
    }

    /// <summary>Protected or long mode, and not at the kernel's virtual addresses.</summary>
    private async ValueTask<PhaseLocation> OutsideAsync(Machine machine, int cpu, ulong pc, bool isLong, CancellationToken cancellationToken)
    {
        var bases = await SegmentBases.TryReadAsync(machine.Client, cpu, cancellationToken);
        var bits = bases?.CodeBits ?? (isLong ? 64 : 32);
        var codeBase = bits == 64 ? 0 : bases?.CodeBase ?? 0;
        var linear = bits == 64 ? pc : (codeBase + pc) & uint.MaxValue;
        var location = new PhaseLocation(BootPhase.Firmware, linear, null, "") { CodeBase = codeBase, CodeBits = bits };
        if (_placement is not null && await FindPhysicalAsync(machine, linear, cancellationToken) is { } physical)
        {
            return location with { Phase = BootPhase.PhysicalKernel, Map = physical, Words = $"kernel at physical addresses, from 0x{_placement.PhysicalStart(physical):x}" };
        }

        foreach (var decompressor in code.Decompressors)
        {
            if (await decompressor.TryLocateAsync(machine.Memory, linear, cancellationToken) is { } start)
            {
                var map = decompressor.MapAt(start);
                return location with { Phase = BootPhase.Decompressor, Map = map, Words = $"decompressor of the bzImage at 0x{start:x}{LackOf(map)}" };
            }
        }

        if (await FindSetupAsync(machine, linear, cancellationToken) is { } setup)
        {
            return location with { Map = setup.Map, Words = $"protected mode, {setup.Words}" };
        }

        var mode = isLong ? "long mode" : "protected mode";
        return location with { Words = $"{mode}, 0x{linear:x}{(linear is (>= 0xe0000 and < 0x100000) or >= 0xff000000 and <= uint.MaxValue ? " (BIOS)" : " (firmware or boot loader)")}" };
    }

    private async ValueTask<(KernelMap? Map, string Words)?> FindSetupAsync(Machine machine, ulong linear, CancellationToken cancellationToken)
    {
        var head = new byte[8];
        if (await machine.Memory.TryReadAsync(linear, head, cancellationToken) && BootCode.IsSetupEntry(head))
        {
            var entry = BootCode.BaseOfEntry(linear);
            var map = code.Setup.FirstOrDefault()?.MapAt(entry);
            return (map, SetupWords(entry, map));
        }

        foreach (var setup in code.Setup)
        {
            if (await setup.TryLocateAsync(machine.Memory, linear, cancellationToken) is { } start)
            {
                var map = setup.MapAt(start);
                return (map, SetupWords(start, map));
            }
        }

        return null;
    }

    private static string SetupWords(ulong start, KernelMap? map) => $"setup code of the kernel at 0x{start:x}{LackOf(map)}";

    private static string LackOf(KernelMap? map) => map is null ? ", no symbols: give --build-tree" : "";

    private async ValueTask<KernelMap?> FindPhysicalAsync(Machine machine, ulong linear, CancellationToken cancellationToken)
    {
        var slide = await _placement!.TryFindAsync(machine.Memory, linear, _placement.PhysicalOffset, cancellationToken);
        if (slide is { } found && _physical?.Slide != found - _placement!.PhysicalOffset)
        {
            _physical = new KernelMap(image!, found - _placement.PhysicalOffset);
        }

        return slide is null ? null : _physical;
    }

    private static bool IsLong(RegisterBlock registers) => ((Value(registers, "efer") ?? 0) & LongModeActive) != 0;

    /// <summary>A register by its 64-bit or its 32-bit name.</summary>
    private static ulong? Value(RegisterBlock block, string name) =>
        (block.Layout.TryFind(name, out var register) || (name[0] == 'e' && block.Layout.TryFind("r" + name[1..], out register)))
            && block.TryGetValue(register!, out var value) ? value : null;
}

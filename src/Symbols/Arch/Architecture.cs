using System.Collections.Immutable;

namespace KTrace.Symbols.Arch;

/// <summary>
/// What the rest of KTrace must know of a processor: its registers (indexed by DWARF number, then extras that DWARF does
/// not number), its word size, and where the kernel keeps things. A new architecture is one file here and one line in <see cref="All"/>.
/// </summary>
public abstract class Architecture
{
    /// <summary>QEMU's and the trace header's name: <c>x86-64</c>, <c>i386</c>.</summary>
    public abstract string Name { get; }

    /// <summary>ELF e_machine.</summary>
    public abstract ushort ElfMachine { get; }

    /// <summary>Bytes in a word: 4 or 8.</summary>
    public abstract int WordSize { get; }

    /// <summary>
    /// Register names at their index in a <see cref="Unwind.RegisterSet"/>. The first <see cref="DwarfRegisterCount"/> stand at their
    /// DWARF number (the return-address column is the pc); then the ones that only the target knows (cs, gs_base …). Names are those of target.xml.
    /// </summary>
    public abstract ImmutableArray<string> RegisterNames { get; }

    public abstract int DwarfRegisterCount { get; }

    public abstract int ProgramCounter { get; }

    public abstract int StackPointer { get; }

    public abstract int FramePointer { get; }

    /// <summary>General registers, in the order in which people expect to see them (indexes into <see cref="RegisterNames"/>).</summary>
    public abstract ImmutableArray<int> GeneralRegisters { get; }

    /// <summary>What a function returns that fits into a register (both psABIs: rax, eax).</summary>
    public int ReturnRegister => 0;

    /// <summary>Registers that carry the first integer arguments of a C function, in order.</summary>
    public abstract ImmutableArray<int> ArgumentRegisters { get; }

    /// <summary>Registers that a C function gives back as it found them: what CFI does not mention of them has kept its value.</summary>
    public abstract ImmutableArray<int> CalleeSavedRegisters { get; }

    /// <summary>The flags register's index.</summary>
    public abstract int Flags { get; }

    /// <summary>The code segment's index; its two low bits are the privilege level.</summary>
    public abstract int CodeSegment { get; }

    /// <summary>Where the kernel's entry code puts the interrupted registers.</summary>
    public abstract PtRegsLayout PtRegs { get; }

    public static ImmutableArray<Architecture> All { get; } = [X86_64.Instance, I386.Instance];

    /// <summary>The architecture of an ELF file's e_machine, or null when KTrace does not know it.</summary>
    public static Architecture? ForElfMachine(ushort machine) => All.FirstOrDefault(a => a.ElfMachine == machine);

    public static Architecture? ForName(string name) => All.FirstOrDefault(a => a.Name == name);

    /// <summary>Index of a register by its target.xml name, or -1.</summary>
    public int IndexOf(string registerName) => RegisterNames.IndexOf(registerName);
}

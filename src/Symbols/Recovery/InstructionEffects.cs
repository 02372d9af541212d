// What instructions write (Intel SDM volume 2, AMD APM volume 3). Sound by default: an instruction that is not known to leave a named register alone is taken
// to write it. Only what moves values about is computed exactly.
using Gee.External.Capstone.X86;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Disassembly;

namespace KTrace.Symbols.Recovery;

/// <summary>How an instruction treats its operands.</summary>
internal enum EffectKind : byte
{
    /// <summary>All operands may be written, and what Capstone calls implicit.</summary>
    WritesAll,

    /// <summary>No general register and no memory of the stack is written.</summary>
    WritesNothing,

    /// <summary>The first operand is written, the others are read; and what the mask says.</summary>
    WritesFirst,

    /// <summary>Operands are read; only what the mask says is written.</summary>
    WritesImplicit,

    /// <summary>Any register may be written.</summary>
    Clobbers,

    Mov, MovZeroExtend, MovSignExtend, Lea, Add, Subtract, Increment, Decrement, And, Or, Xor, Push, Pop, PushFlags, PopFlags, Leave, Exchange, Call, SignExtendAx, StringStore, Compare,
}

internal static class InstructionEffects
{
    private static readonly EffectKind[] Kinds = Fill();

    public static EffectKind Of(X86InstructionId id) => (uint)id < (uint)Kinds.Length ? Kinds[(int)id] : EffectKind.Clobbers;

    /// <summary>Registers beyond the operands, for those whose implicit writes matter; a bit each.</summary>
    public static uint Implicit(in MachineInstruction instruction, RegisterNumbers registers)
    {
        var mask = instruction.ImplicitlyWritten;
        switch (instruction.Id)
        {
            case X86InstructionId.X86_INS_MUL or X86InstructionId.X86_INS_DIV or X86InstructionId.X86_INS_IDIV or X86InstructionId.X86_INS_CQO
                or X86InstructionId.X86_INS_CDQ or X86InstructionId.X86_INS_CWD or X86InstructionId.X86_INS_RDTSC or X86InstructionId.X86_INS_RDMSR
                or X86InstructionId.X86_INS_RDPMC or X86InstructionId.X86_INS_XGETBV or X86InstructionId.X86_INS_CMPXCHG8B or X86InstructionId.X86_INS_CMPXCHG16B:
                mask |= registers.Ax | registers.Dx;
                break;
            case X86InstructionId.X86_INS_IMUL when instruction.OperandCount == 1:
                mask |= registers.Ax | registers.Dx;
                break;
            case X86InstructionId.X86_INS_CPUID:
                mask |= registers.Ax | registers.Bx | registers.Cx | registers.Dx;
                break;
            case X86InstructionId.X86_INS_RDTSCP:
                mask |= registers.Ax | registers.Cx | registers.Dx;
                break;
            case X86InstructionId.X86_INS_CMPXCHG or X86InstructionId.X86_INS_IN or X86InstructionId.X86_INS_LAHF or X86InstructionId.X86_INS_XLATB
                or X86InstructionId.X86_INS_SALC:
                mask |= registers.Ax;
                break;
            case X86InstructionId.X86_INS_LOOP or X86InstructionId.X86_INS_LOOPE or X86InstructionId.X86_INS_LOOPNE:
                mask |= registers.Cx;
                break;
            default:
                break;
        }

        return mask;
    }

    /// <summary>Does it run on memory at rdi or rsi, one element after the other?</summary>
    public static uint StringRegisters(in MachineInstruction instruction, RegisterNumbers registers) => instruction.Id switch
    {
        X86InstructionId.X86_INS_LODSB or X86InstructionId.X86_INS_LODSW or X86InstructionId.X86_INS_LODSD or X86InstructionId.X86_INS_LODSQ => registers.Ax | registers.Si | registers.Cx,
        X86InstructionId.X86_INS_STOSB or X86InstructionId.X86_INS_STOSW or X86InstructionId.X86_INS_STOSD or X86InstructionId.X86_INS_STOSQ
            or X86InstructionId.X86_INS_SCASB or X86InstructionId.X86_INS_SCASW or X86InstructionId.X86_INS_SCASD or X86InstructionId.X86_INS_SCASQ => registers.Di | registers.Cx,
        // movsd and cmpsd are names of vector instructions too.
        X86InstructionId.X86_INS_MOVSD or X86InstructionId.X86_INS_CMPSD
            when instruction.First.Kind == OperandKind.OtherRegister || instruction.Second.Kind == OperandKind.OtherRegister => 0,
        _ => registers.Si | registers.Di | registers.Cx,
    };

    private static EffectKind[] Fill()
    {
        var kinds = new EffectKind[Enum.GetValues<X86InstructionId>().Max(id => (int)id) + 1];
        void Set(EffectKind kind, params ReadOnlySpan<string> names)
        {
            foreach (var name in names)
            {
                if (Enum.TryParse<X86InstructionId>("X86_INS_" + name, out var id))
                {
                    kinds[(int)id] = kind;
                }
            }
        }

        foreach (var id in Enum.GetValues<X86InstructionId>())
        {
            if (id == X86InstructionId.Invalid)
            {
                continue;
            }

            var name = id.ToString()["X86_INS_".Length..];
            if (name[0] == 'J')
            {
                kinds[(int)id] = EffectKind.WritesNothing;
            }
            else if (name.StartsWith("CMOV", StringComparison.Ordinal) || name.StartsWith("SET", StringComparison.Ordinal))
            {
                kinds[(int)id] = EffectKind.WritesFirst;
            }
        }

        Set(EffectKind.WritesNothing,
            "NOP", "BT", "CLI", "STI", "CLD", "STD", "HLT", "PAUSE", "MFENCE", "LFENCE", "SFENCE", "INVLPG", "INVD", "WBINVD", "WRMSR", "OUT", "LGDT", "LIDT", "LLDT", "LTR", "LMSW",
            "PREFETCH", "PREFETCHNTA", "PREFETCHT0", "PREFETCHT1", "PREFETCHT2", "PREFETCHW", "CLFLUSH", "CLFLUSHOPT", "CLWB", "UD2", "INT3", "SWAPGS", "CLTS", "CLAC", "STAC", "VERR", "VERW", "WAIT",
            "CLC", "STC", "CMC", "SAHF", "WRGSBASE", "WRFSBASE", "LDMXCSR", "FXRSTOR", "FXRSTOR64", "XRSTOR", "XRSTOR64", "XRSTORS", "XRSTORS64", "FLDCW", "FNINIT", "FNCLEX", "FRSTOR", "EMMS", "MONITOR", "MWAIT",
            "RET", "RETF", "RETFQ", "IRET", "IRETD", "IRETQ", "INVPCID", "INVEPT", "INVVPID", "XSETBV", "STGI", "CLGI");
        Set(EffectKind.Compare, "CMP", "TEST");
        Set(EffectKind.WritesFirst,
            "ADC", "SBB", "SHL", "SHR", "SAR", "SAL", "ROL", "ROR", "RCL", "RCR", "SHLD", "SHRD", "NOT", "NEG", "BSF", "BSR", "TZCNT", "LZCNT", "POPCNT", "BSWAP", "BTS", "BTR", "BTC",
            "MOVBE", "ANDN", "BEXTR", "BZHI", "PDEP", "PEXT", "RORX", "SARX", "SHLX", "SHRX", "MOVD", "MOVQ", "MOVNTI", "LAR", "LSL", "RDRAND", "RDSEED", "CRC32", "SMSW", "STR", "SLDT",
            "RDFSBASE", "RDGSBASE", "FNSTSW", "STMXCSR", "FNSTCW", "PMOVMSKB", "MOVAPS", "MOVUPS", "MOVAPD", "MOVUPD", "MOVDQA", "MOVDQU", "MOVLPS", "MOVHPS", "MOVSS",
            "CVTSI2SD", "CVTSI2SS", "CVTTSD2SI", "CVTTSS2SI", "SGDT", "SIDT", "IMUL", "CMPXCHG");
        Set(EffectKind.WritesImplicit, "MUL", "DIV", "IDIV", "CQO", "CDQ", "CWD", "CPUID", "RDTSC", "RDTSCP", "RDMSR", "RDPMC", "XGETBV", "LAHF", "LOOP", "LOOPE", "LOOPNE");
        Set(EffectKind.Clobbers,
            "VMCALL", "VMMCALL", "VMLAUNCH", "VMRESUME", "VMRUN", "VMLOAD", "VMSAVE", "SYSCALL", "SYSENTER", "SYSEXIT", "SYSRET", "INT", "INTO", "INT1", "SKINIT", "RSM", "XBEGIN", "XABORT", "XEND",
            "POPAL", "POPAW", "PUSHAL", "PUSHAW", "ENTER", "GETSEC", "ENCLS", "ENCLU", "PCMPESTRI", "PCMPESTRM", "PCMPISTRI", "XSTORE", "XCRYPTECB", "XCRYPTCBC", "XCRYPTCTR", "XCRYPTCFB", "XCRYPTOFB",
            "XSHA1", "XSHA256", "MONTMUL", "LCALL", "LJMP", "ARPL", "BOUND", "LDS", "LES", "LFS", "LGS", "LSS");
        Set(EffectKind.StringStore,
            "STOSB", "STOSW", "STOSD", "STOSQ", "MOVSB", "MOVSW", "MOVSD", "MOVSQ", "LODSB", "LODSW", "LODSD", "LODSQ", "SCASB", "SCASW", "SCASD", "SCASQ", "CMPSB", "CMPSW", "CMPSD", "CMPSQ",
            "INSB", "INSW", "INSD", "OUTSB", "OUTSW", "OUTSD");
        Set(EffectKind.Mov, "MOV", "MOVABS");
        Set(EffectKind.MovZeroExtend, "MOVZX");
        Set(EffectKind.MovSignExtend, "MOVSX", "MOVSXD");
        Set(EffectKind.Lea, "LEA");
        Set(EffectKind.Add, "ADD");
        Set(EffectKind.Subtract, "SUB");
        Set(EffectKind.Increment, "INC");
        Set(EffectKind.Decrement, "DEC");
        Set(EffectKind.And, "AND");
        Set(EffectKind.Or, "OR");
        Set(EffectKind.Xor, "XOR");
        Set(EffectKind.Push, "PUSH");
        Set(EffectKind.Pop, "POP");
        Set(EffectKind.PushFlags, "PUSHF", "PUSHFD", "PUSHFQ");
        Set(EffectKind.PopFlags, "POPF", "POPFD", "POPFQ");
        Set(EffectKind.Leave, "LEAVE");
        Set(EffectKind.Exchange, "XCHG");
        Set(EffectKind.Call, "CALL");
        Set(EffectKind.SignExtendAx, "CDQE", "CWDE");
        return kinds;
    }
}

/// <summary>The registers that instructions use without naming them, as bits and indexes.</summary>
internal sealed class RegisterNumbers
{
    public RegisterNumbers(Architecture architecture)
    {
        Is64Bit = architecture.WordSize == 8;
        Word = architecture.WordSize;
        var prefix = Is64Bit ? "r" : "e";
        int Index(string name) => architecture.IndexOf(prefix + name);
        (AxIndex, CxIndex, DiIndex, StackPointer, FramePointer) = (Index("ax"), Index("cx"), Index("di"), architecture.StackPointer, architecture.FramePointer);
        (Ax, Bx, Cx, Dx, Si, Di) = (1u << AxIndex, 1u << Index("bx"), 1u << CxIndex, 1u << Index("dx"), 1u << Index("si"), 1u << DiIndex);
        Count = Is64Bit ? 16 : 8;
        foreach (var register in architecture.CalleeSavedRegisters)
        {
            CalleeSaved |= 1u << register;
        }

        CallerSaved = ((1u << Count) - 1) & ~CalleeSaved & ~(1u << StackPointer);
    }

    public bool Is64Bit { get; }

    public int Word { get; }

    /// <summary>General registers.</summary>
    public int Count { get; }

    public uint Ax { get; }

    public uint Bx { get; }

    public uint Cx { get; }

    public uint Dx { get; }

    public uint Si { get; }

    public uint Di { get; }

    public int AxIndex { get; }

    public int CxIndex { get; }

    public int DiIndex { get; }

    public int StackPointer { get; }

    public int FramePointer { get; }

    public uint CalleeSaved { get; }

    public uint CallerSaved { get; }
}

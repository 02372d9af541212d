// Where an x86 instruction may lead: Intel SDM volume 2, as far as control flow goes. What a stepper must know before it lets one instruction run.
using System.Collections.Immutable;
using Gee.External.Capstone.X86;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Disassembly;

/// <summary>What executing an instruction does to control flow, faults aside.</summary>
public enum FlowKind
{
    /// <summary>Goes on behind it.</summary>
    Sequential,

    /// <summary>A direct jump.</summary>
    Jump,

    /// <summary>Goes on behind it or at its target.</summary>
    ConditionalJump,

    /// <summary>To an address in a register or in memory.</summary>
    IndirectJump,

    Call,

    IndirectCall,

    Return,

    /// <summary>iret, sysret, sysexit: to wherever was interrupted, mostly in another mode.</summary>
    InterruptReturn,

    /// <summary>syscall, sysenter, int: to the kernel's entry.</summary>
    SystemCall,

    /// <summary>hlt, mwait: stays until an interrupt comes.</summary>
    Wait,

    /// <summary>A string instruction with rep: every repetition counts as one step, and the pc stays.</summary>
    Repeat,
}

/// <summary>Where an instruction may lead.</summary>
/// <param name="Next">The address behind it.</param>
/// <param name="Target">Of a direct jump or call; else 0.</param>
public readonly record struct InstructionFlow(FlowKind Kind, ulong Address, ulong Next, ulong Target)
{
    public bool IsCall => Kind is FlowKind.Call or FlowKind.IndirectCall;
}

/// <summary>Decodes instructions for what they do to control flow. For one thread at a time.</summary>
/// <param name="bits">Of the mode that the code runs in: 16, 32 or 64.</param>
public sealed class FlowDecoder(Architecture architecture, int bits) : IDisposable
{
    /// <summary>Bytes that an instruction has at most.</summary>
    public const int MaximumLength = 15;

    private readonly InstructionDecoder _decoder = new(architecture, bits);

    /// <summary>False where the bytes are no instruction that Capstone knows.</summary>
    /// <param name="code">From the instruction on; too few bytes are no instruction.</param>
    public bool TryDecode(ReadOnlySpan<byte> code, ulong address, out InstructionFlow flow)
    {
        flow = default;
        if (!_decoder.TryDecode(code, address, out var instruction))
        {
            return false;
        }

        var isDirect = instruction.First.IsImmediate;
        var kind = instruction.Id switch
        {
            X86InstructionId.X86_INS_JMP => isDirect ? FlowKind.Jump : FlowKind.IndirectJump,
            X86InstructionId.X86_INS_LJMP => FlowKind.IndirectJump,
            X86InstructionId.X86_INS_CALL => isDirect ? FlowKind.Call : FlowKind.IndirectCall,
            X86InstructionId.X86_INS_LCALL => FlowKind.IndirectCall,
            X86InstructionId.X86_INS_RET or X86InstructionId.X86_INS_RETF or X86InstructionId.X86_INS_RETFQ => FlowKind.Return,
            X86InstructionId.X86_INS_IRET or X86InstructionId.X86_INS_IRETD or X86InstructionId.X86_INS_IRETQ
                or X86InstructionId.X86_INS_SYSRET or X86InstructionId.X86_INS_SYSEXIT => FlowKind.InterruptReturn,
            X86InstructionId.X86_INS_SYSCALL or X86InstructionId.X86_INS_SYSENTER or X86InstructionId.X86_INS_INT => FlowKind.SystemCall,
            X86InstructionId.X86_INS_HLT or X86InstructionId.X86_INS_MWAIT => FlowKind.Wait,
            _ when s_conditional.Contains(instruction.Id) => FlowKind.ConditionalJump,
            _ => instruction.HasRepeat && s_strings.Contains(instruction.Id) ? FlowKind.Repeat : FlowKind.Sequential,
        };
        var next = Wrapped(instruction.End);
        var target = isDirect && kind is FlowKind.Jump or FlowKind.ConditionalJump or FlowKind.Call ? Wrapped((ulong)instruction.First.Number) : 0;
        flow = new InstructionFlow(kind, address, next, target);
        return true;
    }

    public void Dispose() => _decoder.Dispose();

    private ulong Wrapped(ulong address) => architecture.WordSize == 4 ? (uint)address : address;

    private static readonly ImmutableHashSet<X86InstructionId> s_conditional =
    [
        X86InstructionId.X86_INS_JA, X86InstructionId.X86_INS_JAE, X86InstructionId.X86_INS_JB, X86InstructionId.X86_INS_JBE, X86InstructionId.X86_INS_JCXZ,
        X86InstructionId.X86_INS_JECXZ, X86InstructionId.X86_INS_JRCXZ, X86InstructionId.X86_INS_JE, X86InstructionId.X86_INS_JG, X86InstructionId.X86_INS_JGE,
        X86InstructionId.X86_INS_JL, X86InstructionId.X86_INS_JLE, X86InstructionId.X86_INS_JNE, X86InstructionId.X86_INS_JNO, X86InstructionId.X86_INS_JNP,
        X86InstructionId.X86_INS_JNS, X86InstructionId.X86_INS_JO, X86InstructionId.X86_INS_JP, X86InstructionId.X86_INS_JS,
        X86InstructionId.X86_INS_LOOP, X86InstructionId.X86_INS_LOOPE, X86InstructionId.X86_INS_LOOPNE,
    ];

    private static readonly ImmutableHashSet<X86InstructionId> s_strings =
    [
        X86InstructionId.X86_INS_MOVSB, X86InstructionId.X86_INS_MOVSW, X86InstructionId.X86_INS_MOVSD, X86InstructionId.X86_INS_MOVSQ,
        X86InstructionId.X86_INS_STOSB, X86InstructionId.X86_INS_STOSW, X86InstructionId.X86_INS_STOSD, X86InstructionId.X86_INS_STOSQ,
        X86InstructionId.X86_INS_LODSB, X86InstructionId.X86_INS_LODSW, X86InstructionId.X86_INS_LODSD, X86InstructionId.X86_INS_LODSQ,
        X86InstructionId.X86_INS_SCASB, X86InstructionId.X86_INS_SCASW, X86InstructionId.X86_INS_SCASD, X86InstructionId.X86_INS_SCASQ,
        X86InstructionId.X86_INS_CMPSB, X86InstructionId.X86_INS_CMPSW, X86InstructionId.X86_INS_CMPSD, X86InstructionId.X86_INS_CMPSQ,
        X86InstructionId.X86_INS_INSB, X86InstructionId.X86_INS_INSW, X86InstructionId.X86_INS_INSD,
        X86InstructionId.X86_INS_OUTSB, X86InstructionId.X86_INS_OUTSW, X86InstructionId.X86_INS_OUTSD,
    ];
}

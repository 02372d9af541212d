// Where arguments are at a function's first instruction.
// x86-64: System V psABI, section 3.2.3: arguments of class INTEGER (structures of up to 16 bytes in one or two pieces) in rdi, rsi, rdx, rcx, r8, r9, all of an argument or
// nothing of it; structures that are larger or packed, and what finds no register, on the stack above the return address in words, 16 bytes aligned where the type is. A
// structure result that does not fit into registers takes rdi for its address. Floating-point arguments are in vector registers, of which nobody here knows the values.
// i386: the kernel is built with -mregparm=3 -freg-struct-return (arch/x86/Makefile): eax, edx, ecx as long as arguments fit whole, then the stack for all that follow; with "..." and
// asmlinkage everything is on the stack, and only the debug information tells (asmlinkage leaves no trace in a type).
using System.Collections.Immutable;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values;

internal enum ArgumentPlaceKind : byte
{
    /// <summary>In a vector register, or it cannot be said.</summary>
    Unknown,
    Register,

    /// <summary>In two registers, the lower half first.</summary>
    TwoRegisters,

    /// <summary>On the stack.</summary>
    Stack,
}

/// <summary>Where one argument is.</summary>
/// <param name="Offset">On the stack: bytes from the CFA, which is behind the return address.</param>
internal readonly record struct ArgumentPlace(ArgumentPlaceKind Kind, int Register = -1, int Second = -1, long Offset = 0);

/// <summary>The ABI's assignment of arguments.</summary>
internal static class ArgumentPassing
{
    private const int MaximumDepth = 8;
    private const int MaximumMembers = 64;

    public static ImmutableArray<ArgumentPlace> Of(Architecture architecture, IReadOnlyList<CType> parameters, CType result, bool isVariadic) =>
        architecture.WordSize == 8 ? OfX86_64(architecture, parameters, result) : OfI386(architecture, parameters, result, isVariadic);

    private static ImmutableArray<ArgumentPlace> OfX86_64(Architecture architecture, IReadOnlyList<CType> parameters, CType result)
    {
        var registers = architecture.ArgumentRegisters;
        var places = ImmutableArray.CreateBuilder<ArgumentPlace>(parameters.Count);
        var (next, stack) = (result.Resolved is StructType && result.Size > 16 ? 1 : 0, 0L);
        foreach (var parameter in parameters)
        {
            var words = (int)Math.Min((parameter.Size + 7) / 8, 1 << 20);
            // long double is passed in memory, whatever registers are left.
            var (isInteger, isVector) = words is 1 or 2 && parameter.Resolved is not FloatType { Size: 16 } ? Classify(parameter) : (false, false);
            if (words == 0)
            {
                // An empty structure takes no place in C.
                places.Add(default);
            }
            else if (isVector)
            {
                places.Add(default);
                if (parameter.Resolved is StructType)
                {
                    // One half may be in a general register: what follows cannot be said any more.
                    next = registers.Length;
                    stack = long.MinValue;
                }
            }
            else if (isInteger && next + words <= registers.Length)
            {
                places.Add(words == 1
                    ? new ArgumentPlace(ArgumentPlaceKind.Register, registers[next])
                    : new ArgumentPlace(ArgumentPlaceKind.TwoRegisters, registers[next], registers[next + 1]));
                next += words;
            }
            else if (stack >= 0)
            {
                if (parameter.Resolved is IntegerType { Size: 16 } or FloatType { Size: 16 })
                {
                    stack = (stack + 15) & ~15L;
                }

                places.Add(new ArgumentPlace(ArgumentPlaceKind.Stack, Offset: stack));
                stack += words * 8L;
            }
            else
            {
                places.Add(default);
            }
        }

        return places.MoveToImmutable();
    }

    private static ImmutableArray<ArgumentPlace> OfI386(Architecture architecture, IReadOnlyList<CType> parameters, CType result, bool isVariadic)
    {
        var registers = architecture.ArgumentRegisters;
        var places = ImmutableArray.CreateBuilder<ArgumentPlace>(parameters.Count);
        var hidden = result.Resolved is StructType && result.Size is not (1 or 2 or 4 or 8);
        var next = isVariadic ? registers.Length : hidden ? 1 : 0;
        var stack = isVariadic && hidden ? 4L : 0;
        foreach (var parameter in parameters)
        {
            var words = (int)Math.Min((parameter.Size + 3) / 4, 1 << 20);
            if (words == 0)
            {
                places.Add(default);
            }
            else if (next + words <= registers.Length && words <= 2 && parameter.Resolved is not FloatType)
            {
                places.Add(words == 1
                    ? new ArgumentPlace(ArgumentPlaceKind.Register, registers[next])
                    : new ArgumentPlace(ArgumentPlaceKind.TwoRegisters, registers[next], registers[next + 1]));
                next += words;
            }
            else
            {
                // gcc/config/i386/i386.cc, function_arg_advance_32: an argument that does not fit takes the registers that are left with it.
                places.Add(new ArgumentPlace(ArgumentPlaceKind.Stack, Offset: stack));
                next = parameter.Resolved is FloatType ? next : registers.Length;
                stack += words * 4L;
            }
        }

        return places.MoveToImmutable();
    }

    /// <summary>Of a type of at most 16 bytes: whether all of it goes into general registers, and whether some of it goes into vector registers.</summary>
    private static (bool IsInteger, bool IsVector) Classify(CType type)
    {
        var (hasFloat, isPacked, left) = (false, false, MaximumMembers);
        Walk(type, 0, 0, ref hasFloat, ref isPacked, ref left);
        return (!hasFloat && !isPacked, hasFloat && !isPacked);
    }

    private static void Walk(CType type, long offset, int depth, ref bool hasFloat, ref bool isPacked, ref int left)
    {
        switch (type.Resolved)
        {
            case FloatType:
                hasFloat = true;
                break;
            case StructType composite when depth < MaximumDepth:
                foreach (var member in composite.Members)
                {
                    if (--left < 0)
                    {
                        isPacked = true;
                        return;
                    }

                    var size = member.Type.Resolved is IntegerType or PointerType or EnumType ? member.Type.Size : 1;
                    isPacked |= !member.IsBitField && size > 1 && (offset + member.Offset) % size != 0;
                    Walk(member.Type, offset + member.Offset, depth + 1, ref hasFloat, ref isPacked, ref left);
                }

                break;
            case ArrayType array when depth < MaximumDepth:
                Walk(array.Element, offset, depth + 1, ref hasFloat, ref isPacked, ref left);
                break;
        }
    }
}

using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;

namespace KTrace.Tests.Symbols.Recovery;

/// <summary>
/// Compares, over many call sites, what the compiler says that a call passes (DW_TAG_call_site_parameter) with what the machine code shows. Both are turned into value names of
/// the same flow, so no execution is needed: the compiler's "rbx + 8" must be the very value that the argument register holds.
/// </summary>
internal sealed class CallSiteAgreement(KernelImage image)
{
    private readonly CallSites _sites = new(image.Symbolizer);
    private readonly FlowLibrary _library = new(CodeObject.OfFile(image.File, image.Symbols, image.Architecture, image.Symbolizer));

    public int Compared { get; private set; }

    public int Agreed { get; private set; }

    /// <summary>The code shows a way to a value that the compiler gives differently.</summary>
    public List<string> Different { get; } = [];

    /// <summary>The code shows another number than the compiler says: one of the two is wrong.</summary>
    public List<string> Contradicting { get; } = [];

    /// <summary>The compiler knows, the code does not tell.</summary>
    public List<string> Lost { get; } = [];

    /// <summary>Expressions that are not translated here.</summary>
    public int Untranslated { get; private set; }

    /// <summary>Compares the call sites of one function.</summary>
    public int Run(ulong function)
    {
        if (!_sites.TryFindFunction(function, out var found) || found.Start != function || _library.FlowOf(function) is not { } finder)
        {
            return 0;
        }

        var count = 0;
        foreach (var site in _sites.Of(in found).Sites)
        {
            if (site.IsTailCall || finder.PlacesAt(site.ReturnAddress, true) is not [var place])
            {
                continue;
            }

            var parameters = CallSiteParameters.Read(_sites.UnitAt(found.Unit), site.Entry, image.Architecture);
            foreach (var parameter in parameters.Parameters)
            {
                if (parameter.Value.IsNone || Passed(finder.Flow, place.State, in parameter) is not { } shown)
                {
                    continue;
                }

                count++;
                Compare(finder, place, shown, in parameter, site.ReturnAddress);
            }
        }

        return count;
    }

    private static FlowValue? Passed(ValueFlow flow, FlowState state, in CallSiteParameter parameter)
    {
        if (parameter.Register >= 0)
        {
            return parameter.Register < flow.Registers.Count ? state[parameter.Register] : null;
        }

        return parameter.StackOffset != long.MinValue && state[flow.Registers.StackPointer] is { IsCfa: true } stack
            && flow.Places.Find(stack.Addend + parameter.StackOffset, flow.Registers.Word) is >= 0 and var slot && !state[slot].IsUnknown
            ? state[slot] : null;
    }

    private void Compare(RecipeFinder finder, FlowPlace place, FlowValue shown, in CallSiteParameter parameter, ulong returnAddress)
    {
        if (Translate(finder.Flow, place.State, parameter.Value.Span) is not { } said)
        {
            Untranslated++;
            return;
        }

        Compared++;
        var values = finder.Flow.Values;
        var (a, b) = (values.Extend(shown, 32, false), values.Extend(said, 32, false));
        if (a == b || (values.BaseOf(a), values.BaseOf(b)) is (FlowBase.Image, FlowBase.Zero) or (FlowBase.Zero, FlowBase.Image) && (uint)a.Addend == (uint)b.Addend
            || (uint)shown.Addend == (uint)said.Addend && IsNumber(values, shown) && IsNumber(values, said))
        {
            Agreed++;
            return;
        }

        var what = $"{finder.Flow.Flow.Name}: call before 0x{returnAddress:x}, {(parameter.Register >= 0 ? image.Architecture.RegisterNames[parameter.Register] : $"stack {parameter.StackOffset}")}: "
            + $"code {Describe(values, shown)}, DWARF {Convert.ToHexString(parameter.Value.Span)} = {Describe(values, said)}";
        if (shown.Node == said.Node || (IsFixed(values, shown) && IsFixed(values, said)))
        {
            Contradicting.Add(what);
        }
        else if (finder.Find(shown, place).IsEmpty)
        {
            Lost.Add(what);
        }
        else
        {
            Different.Add(what);
        }
    }

    private static bool IsNumber(FlowValues values, FlowValue value) => values.BaseOf(value) is FlowBase.Zero or FlowBase.Image;

    private static bool IsFixed(FlowValues values, FlowValue value) => values.BaseOf(value) is FlowBase.Zero or FlowBase.Image or FlowBase.Cfa;

    private static string Describe(FlowValues values, FlowValue value)
    {
        var text = values.BaseOf(value) + ":" + values.PartsOf(value).A.ToString("x") + "/" + values.PartsOf(value).B + (value.Addend == 0 ? "" : $"+0x{value.Addend:x}");
        return values.TryUnwrap(value, out var inner, out var bits) ? $"{text}[{bits} of {Describe(values, inner)}]" : text;
    }

    /// <summary>The operators that compilers use for parameters; null for others.</summary>
    private FlowValue? Translate(ValueFlow flow, FlowState state, ReadOnlySpan<byte> expression)
    {
        var values = flow.Values;
        var stack = new Stack<FlowValue>();
        for (var at = 0; at < expression.Length;)
        {
            var op = expression[at++];
            switch (op)
            {
                case 0x03:
                    var address = image.Architecture.WordSize == 8 ? BitConverter.ToUInt64(expression[at..]) : BitConverter.ToUInt32(expression[at..]);
                    at += image.Architecture.WordSize;
                    stack.Push(values.Image(address));
                    break;
                case 0x08: stack.Push(values.Constant(expression[at])); at++; break;
                case 0x09: stack.Push(values.Constant((sbyte)expression[at])); at++; break;
                case 0x0a: stack.Push(values.Constant(BitConverter.ToUInt16(expression[at..]))); at += 2; break;
                case 0x0b: stack.Push(values.Constant(BitConverter.ToInt16(expression[at..]))); at += 2; break;
                case 0x0c: stack.Push(values.Constant(BitConverter.ToUInt32(expression[at..]))); at += 4; break;
                case 0x0d: stack.Push(values.Constant(BitConverter.ToInt32(expression[at..]))); at += 4; break;
                case 0x0e or 0x0f: stack.Push(values.Constant(BitConverter.ToInt64(expression[at..]))); at += 8; break;
                case 0x10: stack.Push(values.Constant((long)Unsigned(expression, ref at))); break;
                case 0x11: stack.Push(values.Constant(Signed(expression, ref at))); break;
                case >= 0x30 and <= 0x4f: stack.Push(values.Constant(op - 0x30)); break;
                case >= 0x70 and <= 0x8f when op - 0x70 < flow.Registers.Count: stack.Push(values.Add(state[op - 0x70], Signed(expression, ref at))); break;
                case 0x91: stack.Push(FlowValues.Cfa(Signed(expression, ref at))); break;
                case 0x9c: stack.Push(FlowValues.Cfa(0)); break;
                case 0x06 when stack.TryPop(out var place):
                    if (!place.IsCfa || flow.Places.Find(place.Addend, flow.Registers.Word) is not (>= 0 and var slot) || state[slot].IsUnknown)
                    {
                        return null;
                    }

                    stack.Push(state[slot]);
                    break;
                case 0x23 when stack.TryPop(out var sum): stack.Push(values.Add(sum, (long)Unsigned(expression, ref at))); break;
                case 0x1c when stack.TryPop(out var less) && less.IsConstant && stack.TryPop(out var from): stack.Push(values.Add(from, -less.Addend)); break;
                case 0x22 when stack.TryPop(out var more) && more.IsConstant && stack.TryPop(out var to): stack.Push(values.Add(to, more.Addend)); break;
                case 0xa3 when expression[at] == 1 && expression[at + 1] is >= 0x50 and <= 0x6f:
                    stack.Push(values.EntryRegister(expression[at + 1] - 0x50));
                    at += 2;
                    break;
                default:
                    return null;
            }
        }

        return stack.Count == 1 && !stack.Peek().IsUnknown ? stack.Pop() : null;
    }

    private static ulong Unsigned(ReadOnlySpan<byte> bytes, ref int at)
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            value |= (ulong)(bytes[at] & 0x7f) << shift;
            if (bytes[at++] < 0x80)
            {
                return value;
            }
        }
    }

    private static long Signed(ReadOnlySpan<byte> bytes, ref int at)
    {
        long value = 0;
        var shift = 0;
        byte last;
        do
        {
            last = bytes[at++];
            value |= (long)(last & 0x7f) << shift;
            shift += 7;
        }
        while (last >= 0x80);
        return shift < 64 && (last & 0x40) != 0 ? value | (-1L << shift) : value;
    }
}

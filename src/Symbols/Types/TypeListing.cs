// A type written out as pahole does it: members in C with offset and size behind them, holes and cache lines between them, a summary below. Differs from pahole where that
// guesses: attributes (packed, aligned) are in neither BTF nor, mostly, DWARF and can be seen from the offsets, so they are not made up here.
using System.Globalization;
using System.Text;

namespace KTrace.Symbols.Types;

/// <summary>Writes types for people to read.</summary>
public sealed class TypeListing
{
    private const int CacheLine = 64;
    private const int TypeColumn = 26;
    private const int CommentColumn = 49;

    // Anonymous structures nest a few deep; a file in which one contains itself must end.
    private const int MaximumDepth = 16;
    private const int MaximumLines = 20_000;

    private readonly StringBuilder _text = new();
    private readonly Func<string, string> _clean;
    private readonly bool _expands;
    private long _cacheLine;
    private int _lines;

    private TypeListing(Func<string, string> clean, bool expands)
    {
        _clean = clean;
        _expands = expands;
    }

    /// <summary>A type's definition, with a line end behind it.</summary>
    /// <param name="clean">What is done to names before they are written, as they come from a file.</param>
    /// <param name="expands">Structures that are members are written out too, not only those without a name.</param>
    public static string Of(CType type, Func<string, string>? clean = null, bool expands = false)
    {
        var listing = new TypeListing(clean ?? (static name => name), expands);
        listing.Write(type);
        return listing._text.ToString();
    }

    /// <summary>A variable's or function's declaration, with the names of parameters.</summary>
    public static string Declare(Variable variable, Func<string, string>? clean = null)
    {
        var text = variable.Type is FunctionType function
            ? function.Returns.Declare($"{variable.Name}({Parameters(function)})")
            : variable.Type is VoidType ? variable.Name : variable.Type.Declare(variable.Name);
        return clean is null ? text : clean(text);
    }

    private static string Parameters(FunctionType function)
    {
        var text = string.Join(", ", function.Parameters.Select(p => p.Type.Declare(p.Name)));
        return function.IsVariadic ? text + (text.Length > 0 ? ", ..." : "...") : text.Length > 0 ? text : "void";
    }

    private void Write(CType type)
    {
        switch (type)
        {
            case StructType { IsIncomplete: true }:
                _text.Append(_clean(type.ToString())).Append(";  /* only declared here */\n");
                break;
            case StructType composite:
                WriteComposite(composite, "", ";");
                break;
            case EnumType enumeration:
                WriteEnum(enumeration, 0);
                _text.Append(";\n");
                break;
            case TypedefType typedef:
                WriteTypedef(typedef);
                break;
            default:
                _text.Append(_clean(type.ToString())).Append(type.Size > 0 ? $";  /* size: {Number(type.Size)} */\n" : ";\n");
                break;
        }
    }

    private void WriteTypedef(TypedefType typedef)
    {
        var name = _clean(typedef.Name);
        switch (typedef.Target)
        {
            case StructType { Name.Length: 0 } anonymous:
                WriteComposite(anonymous, "typedef ", $" {name};");
                break;
            case EnumType { Name.Length: 0 } anonymous:
                _text.Append("typedef ");
                WriteEnum(anonymous, 0);
                _text.Append($" {name};\n");
                break;
            default:
                var size = typedef.Size;
                _text.Append("typedef ").Append(_clean(typedef.Target.Declare(typedef.Name))).Append(size > 0 ? $";  /* size: {Number(size)} */\n" : ";\n");
                if (typedef.Target is TypedefType or StructType or EnumType)
                {
                    _text.Append('\n');
                    if (++_lines < MaximumDepth)
                    {
                        Write(typedef.Target);
                    }
                }

                break;
        }
    }

    private void WriteComposite(StructType type, string before, string behind)
    {
        _cacheLine = 0;
        _text.Append(before);
        var gaps = WriteBody(type, 0, 0);
        WriteSummary(type, gaps);
        _text.Append('}').Append(behind).Append('\n');
    }

    /// <summary>From the keyword to the last member.</summary>
    private MemberGaps WriteBody(StructType type, int depth, long origin)
    {
        _text.Append(type.Kind switch { StructKind.Union => "union", StructKind.Class => "class", _ => "struct" })
            .Append(type.Name.Length > 0 ? " " + _clean(type.Name) : "").Append(" {\n");
        var gaps = MemberGaps.Of(type);
        var cacheLine = _cacheLine;
        var isUnion = type.Kind == StructKind.Union;
        for (var i = 0; i < gaps.Members.Length && ++_lines < MaximumLines; i++)
        {
            var placed = gaps.Members[i];
            WriteGap(placed, depth + 1, isFirst: i == 0);
            WriteMember(placed, depth + 1, origin, isUnion);
            if (isUnion)
            {
                // Every member begins where the union does.
                _cacheLine = cacheLine;
            }
        }

        return gaps;
    }

    private void WriteGap(PlacedMember placed, int depth, bool isFirst)
    {
        if (placed.BitsBefore == 0 && placed.BytesBefore == 0)
        {
            return;
        }

        _text.Append(isFirst ? "" : "\n");
        WriteHole(placed.BitsBefore, "bit", depth);
        WriteHole(placed.BytesBefore, "byte", depth);
        _text.Append('\n');
    }

    private void WriteHole(long size, string unit, int depth)
    {
        if (size > 0)
        {
            _text.Append('\t', depth).Append($"/* XXX {Number(size)} {unit}{(size == 1 ? "" : "s")} hole, try to pack */\n");
        }
    }

    private void WriteMember(PlacedMember placed, int depth, long origin, bool isInUnion)
    {
        var member = placed.Member;
        var offset = origin + placed.Offset;
        _text.Append('\t', depth);
        WriteCacheLine(offset, depth);
        var width = Math.Max(0, TypeColumn - (8 * (depth - 1)));
        var start = _text.Length;
        var inner = InnerOf(member.Type, out var isPointedTo);
        if (inner is not null && depth < MaximumDepth)
        {
            // "const struct {...} *name[2]": what stands around the braces.
            var around = member.Type.Declare(member.Name);
            var braces = around.IndexOf(inner.ToString(), StringComparison.Ordinal);
            _text.Append(_clean(around[..Math.Max(0, braces)]));
            if (inner is StructType composite)
            {
                var kept = _cacheLine;
                _cacheLine = isPointedTo ? 0 : _cacheLine;
                WriteBody(composite, depth, isPointedTo ? 0 : offset);
                _cacheLine = isPointedTo ? kept : _cacheLine;
                _text.Append('\t', depth).Append('}');
            }
            else
            {
                WriteEnum((EnumType)inner, depth);
            }

            var behind = _clean(braces < 0 ? " " + around : around[(braces + inner.ToString().Length)..]);
            _text.Append(behind);
            start = _text.Length - behind.Length - 1;
        }
        else
        {
            var (type, declarator) = Split(member.Type, member.Name);
            _text.Append(_clean(type).PadRight(width)).Append(' ').Append(_clean(declarator));
        }

        if (member.IsBitField)
        {
            _text.Append(':').Append(member.BitSize);
        }

        _text.Append(';');
        var column = CommentColumn - (8 * (depth - 1));
        _text.Append(' ', Math.Max(1, column - (_text.Length - start)));
        _text.Append("/* ").Append(Number(offset).PadLeft(5));
        _text.Append(member.IsBitField ? ":" + Number(placed.Bit).PadLeft(2) + " " + Number(placed.Size).PadLeft(2) : " " + Number(placed.Size).PadLeft(5)).Append(" */\n");
        if (member.Type is StructType { Kind: not StructKind.Union, IsIncomplete: false } whole && !isInUnion && MemberGaps.Of(whole).PaddingBytes is > 0 and var padding)
        {
            _text.Append('\n').Append('\t', depth).Append($"/* XXX last struct has {Number(padding)} byte{(padding == 1 ? "" : "s")} of padding */\n\n");
        }
    }

    private void WriteCacheLine(long offset, int depth)
    {
        var line = offset / CacheLine;
        if (line <= _cacheLine)
        {
            return;
        }

        var into = offset % CacheLine;
        _text.Append($"/* --- cacheline {Number(line)} boundary ({Number(offset - into)} bytes)")
            .Append(into == 0 ? "" : $" was {Number(into)} byte{(into == 1 ? "" : "s")} ago").Append(" --- */\n").Append('\t', depth);
        _cacheLine = line;
    }

    private void WriteSummary(StructType type, MemberGaps gaps)
    {
        var isUnion = type.Kind == StructKind.Union;
        _text.Append($"\n\t/* size: {Number(type.Size)}, cachelines: {Number((type.Size + CacheLine - 1) / CacheLine)}, members: {gaps.Members.Length} */\n");
        if (!isUnion)
        {
            var (sum, bits, holes, holeBytes, bitHoles, holeBits) = (0L, 0L, 0, 0L, 0, 0L);
            var (paddings, paddingBytes) = (0, 0L);
            foreach (var placed in gaps.Members)
            {
                (sum, bits) = placed.Member.IsBitField ? (sum, bits + placed.Member.BitSize) : (sum + placed.Size, bits);
                (holes, holeBytes) = placed.BytesBefore > 0 ? (holes + 1, holeBytes + placed.BytesBefore) : (holes, holeBytes);
                (bitHoles, holeBits) = placed.BitsBefore > 0 ? (bitHoles + 1, holeBits + placed.BitsBefore) : (bitHoles, holeBits);
                if (placed.Member.Type is StructType { Kind: not StructKind.Union, IsIncomplete: false } inner && MemberGaps.Of(inner).PaddingBytes is > 0 and var padding)
                {
                    (paddings, paddingBytes) = (paddings + 1, paddingBytes + padding);
                }
            }

            if (holes + bitHoles > 0)
            {
                _text.Append(sum > 0 ? $"\t/* sum members: {Number(sum)}{(holes > 0 ? $", holes: {holes}, sum holes: {Number(holeBytes)}" : "")} */\n" : "");
                _text.Append(bits == 0 ? "" : bitHoles > 0
                    ? $"\t/* sum bitfield members: {Number(bits)} bits, bit holes: {bitHoles}, sum bit holes: {Number(holeBits)} bits */\n"
                    : $"\t/* sum bitfield members: {Number(bits)} bits ({Number(bits / 8)} bytes) */\n");
            }

            _text.Append(gaps.PaddingBytes > 0 ? $"\t/* padding: {Number(gaps.PaddingBytes)} */\n" : "");
            _text.Append(paddings > 0 ? $"\t/* paddings: {paddings}, sum paddings: {Number(paddingBytes)} */\n" : "");
            _text.Append(gaps.PaddingBits > 0 ? $"\t/* bit_padding: {Number(gaps.PaddingBits)} bits */\n" : "");
        }

        _text.Append(type.Size % CacheLine != 0 ? $"\t/* last cacheline: {Number(type.Size % CacheLine)} bytes */\n" : "");
    }

    private void WriteEnum(EnumType type, int depth)
    {
        _text.Append("enum").Append(type.Name.Length > 0 ? " " + _clean(type.Name) : "").Append(" {\n");
        var names = type.Enumerators.Select(e => _clean(e.Name)).ToList();
        var width = names.Count > 0 ? names.Max(n => n.Length) : 0;
        for (var i = 0; i < names.Count && ++_lines < MaximumLines; i++)
        {
            var value = type.Enumerators[i].Value;
            _text.Append('\t', depth + 1).Append(names[i].PadRight(width)).Append(" = ").Append(type.IsSigned ? Number(value) : ((ulong)value).ToString(CultureInfo.InvariantCulture)).Append(",\n");
        }

        _text.Append('\t', depth).Append('}');
    }

    /// <summary>What is written out in place: what has no name, or everything that is a structure itself.</summary>
    private CType? InnerOf(CType type, out bool isPointedTo)
    {
        isPointedTo = false;
        for (var i = 0; i < MaximumDepth; i++)
        {
            switch (type)
            {
                case StructType { IsIncomplete: false } composite:
                    return composite.Name.Length == 0 || (_expands && !isPointedTo) ? composite : null;
                case EnumType { Name.Length: 0 } enumeration:
                    return enumeration;
                case ArrayType array:
                    type = array.Element;
                    break;
                case QualifiedType qualified:
                    type = qualified.Target;
                    break;
                case PointerType pointer:
                    (type, isPointedTo) = (pointer.Target, true);
                    break;
                default:
                    return null;
            }
        }

        return null;
    }

    /// <summary>A declaration as its type and what is declared: <c>struct page *</c> and <c>pages[4]</c>, <c>int</c> and <c>(*handler)(int)</c>.</summary>
    internal static (string Type, string Declarator) Split(CType type, string name)
    {
        // No name of C has this character, so it marks the place.
        const char Mark = '\u0001';
        var text = type.Declare(Mark + name);
        var place = text.IndexOf(Mark, StringComparison.Ordinal);
        var parenthesis = text.AsSpan(0, Math.Max(0, place)).IndexOf('(');
        var split = parenthesis >= 0 ? parenthesis : place;
        return split < 0 ? (text, name) : (text[..split].TrimEnd(), text[split..].Replace(Mark.ToString(), "", StringComparison.Ordinal));
    }

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);
}

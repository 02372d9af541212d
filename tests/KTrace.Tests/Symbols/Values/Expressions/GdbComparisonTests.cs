using System.Globalization;
using System.Text;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Values.Expressions;

/// <summary>The same expressions over the same program, evaluated by gdb and by us.</summary>
public sealed class GdbComparisonTests
{
    private static readonly string[] Operands =
        ["sc", "uc", "sh", "us", "i", "j", "u", "l", "ul", "ll", "ull", "c", "yes", "color", "bits", "1", "-1", "4000000000", "0x80000000", "'a'", "5u", "7l", "handled"];

    private static readonly string[] Operators = ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "<", ">", "<=", ">=", "==", "!=", "&&", "||"];

    private static readonly string[] CastTypes =
        ["char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned", "long", "unsigned long", "long long", "unsigned long long", "u8", "u64", "enum color", "void *", "char *"];

    private static readonly string[] Others =
    [
        "points[2].y", "second->x", "second.x", "(*second).y", "second[1].x", "(second + 2)->y", "*&i", "&i", "&points[1]", "&points[3] - &points[0]", "second - points", "points", "&points",
        "*points", "first.next->next->id", "first.next->next->name[0]", "first.name", "first.next->name", "*first.next", "two.next", "sizeof(struct outer)", "sizeof(int)", "sizeof points",
        "sizeof(points[0])", "sizeof second", "sizeof(*second)", "sizeof(char)", "sizeof(long)", "sizeof(struct fields)", "sizeof(u64)", "sizeof(outer.grid)", "sizeof(outer.grid[0])",
        "sizeof(short)", "sizeof(void *)", "sizeof(first.name)", "sizeof(struct point)", "sizeof(struct inner) * 2",
        "fields.a", "fields.b", "fields.c", "fields.wide", "fields.tail", "fields.flag", "fields.full", "fields.b + 1", "fields.wide >> 8", "fields.tail * 2", "fields.b < 0", "fields.full + 1", "(int)fields.e",
        "outer.in.low", "outer.in.high", "outer.in.word", "outer.in.p[1].x", "outer.pp->x", "outer.pp[1].y", "outer.op", "outer.text", "*outer.text", "outer.text[1]", "outer.raw", "outer.self->self->tag",
        "outer.grid[1][2]", "outer.grid[0]", "*outer.grid", "**outer.grid", "*(outer.grid[1] + 1)", "outer.deep", "&outer.grid[1][1]", "&outer.deep", "outer.in", "outer.in.p",
        "flexible.items[0]", "flexible.items[2]", "flexible.items", "&flexible.items[1]", "flexible.count",
        "text", "text[0]", "text[2] == 'c'", "*text", "&text[3]", "pointer", "*pointer", "pointer[4]", "pointer + 1", "*(pointer + 2)", "mac[0]", "mac[5] << 4", "mac[1] * 256 + mac[2]",
        "table[4]", "*(table + 1)", "table + 2", "*table + 2", "middle[-1]", "middle[1]", "*middle", "**pmiddle", "(*pmiddle)[1]", "*middle++ == 0 || 1", "middle - table", "middle > table", "middle == &table[2]",
        "middle == 0", "middle != 0", "null == 0", "!null", "!middle", "null", "(long)null", "&null->y", "(long)&((struct outer *)0)->in", "(char *)&((struct node *)0)->list - (char *)0",
        "raw", "(int *)raw", "*(int *)raw", "((int *)raw)[1]", "*(short *)(bytes + 4)", "*(long *)longs", "longs[0]", "longs[2] * longs[1]", "(unsigned char)longs[0]",
        "function", "*function", "&twice", "twice", "function == twice", "function == &twice", "none == 0", "none",
        "RED", "GREEN", "BLUE", "GREEN + 1", "color", "color == GREEN", "color + 1", "bits & BIT_B", "bits | BIT_A", "bits == BIT_D", "BIT_A | BIT_C", "(enum color)5", "(enum color)0", "ANONYMOUS_ENUMERATOR",
        "i ? j : 9", "0 ? i : j", "i < 0 ? l : 1", "yes ? sc : uc", "-i", "+i", "~i", "!i", "- -i", "~ul", "-u", "-uc", "~uc", "!yes", "~0", "-1u", "!0", "-'a'", "~ull", "-ull", "+sc", "-sc",
        "i + j * 2", "(i + j) * 2", "i - j - 1", "i * j / 2 % 5", "1 + 2 << 3", "1 << 2 + 3", "i < j == 1", "i & 7 == 7", "(i & 7) == 7", "i | j ^ 6", "1 || 0 && 0", "!i == 0", "~i & 0xff", "-i - -j", "i - -1",
        "1 ? 2 : 0 ? 3 : 4", "(1 ? 2 : 0) ? 3 : 4", "sizeof(int) * 2 - 1", "(char)300", "(unsigned char)-1 + 1", "(short)us", "(int)u", "(long)i", "(unsigned)sc", "(u64)sc", "(int)ll", "(unsigned short)l",
        "(char)c + 1", "0x7fffffff", "0x7fffffff + 1", "0xffffffff", "0xffffffffffffffff", "4294967295", "4294967296", "2147483648", "0777", "0b1011", "123456789012", "1ull << 40", "0x1p", "09",
        "'\\n'", "'\\0'", "'\\x41'", "'\\101'", "'\\\\'", "'\\''", "\"abc\"[1]", "sizeof(\"abc\")", "*\"xyz\"",
        "table[1]@2", "*middle@3", "points[0]@2", "sizeof(*middle@3)", "(*middle@3)[1]", "*(&table[0])@2",
        "constant", "constant + 1", "&constant", "zeros[39]", "zeros", "hidden", "'values.c'::hidden", "i = 3", "i++", "twice(3)", "nothing", "first.nothing", "i.x", "i->x", "*i", "&1", "&(i + 1)", "unknown->x",
        "*unknown", "*null", "null->x", "*raw", "table[", "(i", "i +", "", "i j", "&fields.a", "copy", "copy.x", "list.next", "list.next->prev", "&list", "*list.next", "second->x + second->y * 2", "points[i + 8].x",
        "points[j - 1].x", "(&points[1])->x", "(points + 1)->x", "&points[1].y - &points[0].y", "(char *)&points[1].y - (char *)points", "(long)&points[1] - (long)&points[0]", "(void *)-1", "(char *)0x1000 + 1",
        "(int *)0x1000 + 1", "(struct point *)0x1000 + 1", "(struct undefined *)0x10", "(int)yes + 1", "(irqreturn_t)7 == 7", "(irqreturn_t) -1", "(u32)-1", "(u32) * middle", "(u32) & i", "(irqreturn_t) + 3", "(i) - 3", "(i) * 3",
        "(i) & 3", "(u8)(i)", "sizeof(u32)", "sizeof(u32) + 1", "sizeof (i)", "sizeof i", "(struct node *)&first.list", "((struct node *)((char *)list.next - (long)&((struct node *)0)->list))->id",
        "yes == 1", "yes + yes", "c", "c + 1", "c == 'q'", "d", "f", "uc > sc", "u > i", "ul > i", "ull > ll", "l < u", "us * us", "sh * us", "sc << 4", "uc << 24", "u << 1", "i >> 1", "u >> 1", "ll >> 4", "ull >> 4",
        "1 / 0", "1 % 0", "i / (j - 3)", "i % j", "-7 / 2", "-7 % 3", "7u / -2", "i / 2u",
    ];

    // Where we go with C (ISO 9899, as gcc compiles it) or say more than gdb.
    private static readonly Dictionary<string, string> Explained = new()
    {
        ["yes ? sc : uc"] = "C converts both branches to their common type",
        ["0x1p"] = "no number of C",
        ["*unknown"] = "NULL is named at once; gdb shows an incomplete type at address 0",
        ["&fields.a"] = "C gives no address of a bit field",
        ["(struct undefined *)0x10"] = "a structure that is only declared has pointers",
    };

    [SkippableTheory]
    [InlineData("")]
    [InlineData("-m32")]
    public void Expressions_give_what_gdb_gives(string options)
    {
        Skip.IfNot(PeerProgram.IsInstalled("gdb") && PeerProgram.IsInstalled("gcc"));
        using var folder = new ScratchFolder();
        var program = ValuesProgram.Build(folder, options);
        var scope = new ProgramScope(program);
        string[] expressions =
        [
            .. from left in Operands from operation in Operators from right in Operands select $"{left} {operation} {right}",
            .. from type in CastTypes from operand in Operands select $"({type}){operand}",
            .. Others,
        ];
        var theirs = AskGdb(folder, program, expressions);

        var differences = new StringBuilder();
        var equal = 0;
        for (var i = 0; i < expressions.Length; i++)
        {
            var ours = Ours(expressions[i], scope);
            if (ours == theirs[i] || (ours[0] == '!' && theirs[i][0] == '!'))
            {
                equal++;
            }
            else if (!IsExplained(expressions[i], ours, theirs[i]))
            {
                differences.AppendLine(CultureInfo.InvariantCulture, $"{expressions[i]}: ours {ours}, gdb's {theirs[i]}");
            }
        }

        Assert.True(differences.Length == 0, differences.ToString());
        Assert.True(equal > expressions.Length * 9 / 10, $"{equal} of {expressions.Length}");
    }

    private static bool IsExplained(string expression, string ours, string theirs) =>
        Explained.ContainsKey(expression)
        // Undefined in C; gdb gives 0 or all ones with a warning.
        || ours.StartsWith("!a shift by", StringComparison.Ordinal)
        // C promotes _Bool.
        || (theirs.Contains("on booleans", StringComparison.Ordinal) && ours[0] != '!')
        || (expression is "yes & yes" or "yes | yes" or "yes ^ yes" && ours[..2] == theirs[..2])
        // size_t; gdb says int (evaluate_subexp_for_sizeof: "This should be size_t").
        || (expression.Contains("sizeof", StringComparison.Ordinal) && ours.Split(' ')[0] == theirs.Split(' ')[0]);

    /// <summary><c>value size s|u</c> of numbers and pointers, <c>@address size</c> of structures and arrays, <c>!message</c>.</summary>
    private static string Ours(string text, IExpressionScope scope)
    {
        try
        {
            switch (Expression.Parse(text).Evaluate(scope))
            {
                case ExpressionOutcome.Failed failed:
                    return "!" + failed.Message;
                case ExpressionOutcome.Value { Result: var value }:
                    return value.Type.Resolved switch
                    {
                        StructType or ArrayType or FunctionType => value.Address is { } address ? $"@{address} {Size(value.Type)}" : $"@- {Size(value.Type)}",
                        VoidType => "void",
                        FloatType when value.Type.Size == 8 => BitConverter.ToDouble(value.Bytes.Span).ToString(CultureInfo.InvariantCulture),
                        FloatType => BitConverter.ToSingle(value.Bytes.Span).ToString(CultureInfo.InvariantCulture),
                        _ => $"{(value.Type.Resolved is IntegerType { IsSigned: true } or EnumType { IsSigned: true } ? value.Number!.Value.ToString(CultureInfo.InvariantCulture) : ((ulong)value.Number!.Value).ToString(CultureInfo.InvariantCulture))} {value.Type.Size}",
                    };
                default:
                    return "missing";
            }
        }
        catch (ExpressionSyntaxException e)
        {
            return "!" + e.Message;
        }
    }

    private static long Size(CType type) => type.Resolved is FunctionType ? 1 : type.Size;

    private static string[] AskGdb(ScratchFolder folder, string program, string[] expressions)
    {
        File.WriteAllLines(folder.File("expressions"), expressions);
        File.WriteAllText(folder.File("ask.py"), """
            import gdb
            out = []
            for line in open(FOLDER + '/expressions'):
                try:
                    v = gdb.parse_and_eval(line.rstrip('\n'))
                    t = v.type.strip_typedefs()
                    if t.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_FUNC):
                        v.fetch_lazy()
                        out.append('@%s %d' % (int(v.address) if v.address is not None else '-', t.sizeof))
                    elif t.code == gdb.TYPE_CODE_FLT:
                        out.append(str(v))
                    elif t.code == gdb.TYPE_CODE_PTR:
                        out.append('%d %d' % (int(v) & ((1 << (8 * t.sizeof)) - 1), t.sizeof))
                    else:
                        out.append('%d %d' % (int(v), t.sizeof))
                except Exception as e:
                    out.append('!' + str(e).replace('\n', ' '))
            open(FOLDER + '/answers', 'w').write('\n'.join(out))
            """.Replace("FOLDER", $"'{folder.Path}'", StringComparison.Ordinal));
        PeerProgram.Run("gdb", ["-nx", "-batch", "-ex", "set language c", "-ex", "source " + folder.File("ask.py"), program]);
        return File.ReadAllLines(folder.File("answers"));
    }
}

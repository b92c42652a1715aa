"use strict";
// English, and Chinese where the page or the browser asks for it. What has data-t is written in English in the page.
const ZH = {
  "By source": "按来源", source: "来源", items: "条目", tokens: "词元", supervised: "受监督", "share of it": "所占比例",
  Legend: "图例", target: "目标", "the model is trained to produce it": "训练模型写出它", "not a target": "非目标", "it is only read": "只读",
  "special token": "特殊词元", call: "调用", "the assistant’s call of a tool": "助手调用工具", output: "输出", "what the tool gave back": "工具返回的内容",
  "the rest of a character": "接续前一个字", View: "视图", Task: "任务", Row: "行", all: "全部", "Segment before (p)": "上一段 (p)", "Segment before": "上一段",
  "Next segment (n)": "下一段 (n)", "Next segment": "下一段", "Keys (?)": "按键 (?)", Keys: "按键", Rows: "各行", Token: "词元", Close: "关闭", "Close (Esc)": "关闭 (Esc)",
  "Hover over a token, touch it, or walk with the arrow keys: all that is known of it stands here.": "把鼠标移到词元上、点一下，或用方向键移动：它的一切都显示在这里。",
  "token before, next token": "上一个、下一个词元", "segment before, next segment": "上一段、下一段", "where the next stretch of targets begins": "下一段目标的开头",
  "first, last token of the segment": "本段第一个、最后一个词元", "choose a task": "选择任务", "let go of the token": "放开词元", "these keys": "这些按键",
  document: "文档", user: "用户", assistant: "助手", "assistant: tool call": "助手：工具调用", "tool output": "工具输出",
  "its beginning is in another row": "开头在另一行", "it goes on in another row": "在另一行继续", "it begins and goes on in other rows": "开头和后续都在别的行",
  "{n} tokens, {m} supervised": "{n} 个词元，{m} 个受监督", "{stage}, step {step}, row {row}:": "{stage}，第 {step} 步，第 {row} 行：",
  "{stage} does not hold this conversation.": "{stage} 中没有这段对话。", "{n} segments, {used} of {all} positions used": "{n} 段，用了 {all} 个位置中的 {used} 个",
  "{n} positions of padding: nothing is predicted there": "{n} 个填充位置：那里不预测任何东西", "beside {stage}": "与 {stage} 并排",
  "{name}, in the whole stage: {split} conversations split, {out} exchanges left out.": "{name}，整个阶段：拆分 {split} 段对话，略去 {out} 轮。",
  "nothing: the last of its segment": "无：本段最后一个", "yes: trained to be produced": "是：训练模型写出它", "no: only read": "否：只读",
  "yes: this prediction is in the loss": "是：该预测计入损失", "no: this prediction is not in the loss": "否：该预测不计入损失", "no: it is here whole": "否：完整地在这里",
  "{stage}, row {row}, column {column}": "{stage}，第 {row} 行，第 {column} 列", "{n} of {all} segments": "{all} 段中的 {n} 段",
  "rows × tokens": "行 × 词元", padding: "填充", "segments cut": "被截断的段",
  "learn the language": "学习语言", "learn to speak: dialogue format, tools": "学会说话：对话格式、工具", "learn to speak well": "把话说好",
  token: "词元", id: "编号", "written by": "由谁写", "a target": "是目标", predicts: "预测", position: "位置", "stage, row": "阶段、行", segment: "段",
  task: "任务", dataset: "数据集", index: "序号", from: "出处", cut: "截断",
};
const zh = (document.documentElement.lang || navigator.language).startsWith("zh");

function t(english, values = {}) {
  return ((zh && ZH[english]) || english).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

document.documentElement.lang = zh ? "zh-CN" : "en";
for (const node of document.querySelectorAll("[data-t]")) {
  if (!node.children.length) node.textContent = t(node.textContent);
  for (const name of ["title", "aria-label"]) if (node.hasAttribute(name)) node.setAttribute(name, t(node.getAttribute(name)));
}
